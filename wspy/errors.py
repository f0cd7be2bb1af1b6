"""Every error a user can meet: what was wrong, with which value, and what to do about it.

The message of each class is one line, built here, so that the wording lives in one place. `InputError`
and its subclasses end a command with exit code 2, every other `WspyError` with exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WspyError(Exception):
    """Something a user can put right; its message says how."""

    exit_code = 1


class InputError(WspyError):
    """What the user gave cannot be used as it is."""

    exit_code = 2


def known_names(name: str, known: Iterable[str]) -> str:
    """The tail of an unknown-name message: the nearest name, then all that exist."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"{hint} Available: {', '.join(names) or 'none'}."


# --- values -----------------------------------------------------------------------------------------------


class OutOfRange(InputError):
    """A number outside what this model, corpus or file has."""

    def __init__(self, what: str, value: float, low: float, high: float, of: str) -> None:
        super().__init__(f"{what} {value} does not exist in {of}: choose {low} to {high}.")


# --- storage ----------------------------------------------------------------------------------------------


class Busy(WspyError):
    """Another process holds the lock of a corpus or an atlas."""

    def __init__(self, what: str, lock: str) -> None:
        super().__init__(
            f"Another process is still working on {what}: wait for it to finish, then run the same command "
            f"(lock: {lock})."
        )


class NotWritable(WspyError):
    """The folder that should take the results cannot be written."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"Cannot write to {path} ({why}): free some space, or set WSPY_HOME to another folder.")


# --- plugins ----------------------------------------------------------------------------------------------


class UnknownAnalysis(InputError):
    """No plugin registered an analysis of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no analysis named {name!r}.{known_names(name, known)}")


class BadPluginName(InputError):
    """A name that a package, a module and an analysis cannot all have, or that is taken."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name!r} cannot name a plugin ({why}): use words such as 'pitch' or 'pitch-track'.")


class PluginExists(InputError):
    """A folder of the name that a new plugin's folder would have."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} exists already: choose another name, or another place with --into.")


# --- analyses and runs ------------------------------------------------------------------------------------


class BadInput(InputError):
    """A value that an analysis does not take."""

    def __init__(self, analysis: str, field: str, why: str) -> None:
        super().__init__(f"{analysis}: {field or 'inputs'}: {why}. See: wspy analyze {analysis} --help")


class OutputExists(InputError):
    """The folder for the results already holds something."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} already holds files: name a new or an empty folder with --out.")


class UnknownRun(InputError):
    """No run of that name is kept here."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        newest = list(known)[:5]
        super().__init__(f"There is no run {name!r}. Newest: {', '.join(newest) or 'none'}. See: wspy runs list")


class NotARun(InputError):
    """A run folder whose record is missing, damaged or of another version."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} cannot be shown: {why}. Run the analysis again.")


# --- models -----------------------------------------------------------------------------------------------


class UnknownModel(InputError):
    """Neither a model name nor a file or folder."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"No model is called {name!r}, and there is no such file or folder.{known_names(name, known)}")


class ModelUnavailable(WspyError):
    """A known model that is not on this machine and could not be fetched."""

    def __init__(self, name: str, cached: str, bundled: str, why: str) -> None:
        super().__init__(
            f"Model {name!r} is not on this machine: (1) openai-whisper's cache has no valid {cached} (copy it there); "
            f"(2) {bundled}; (3) the download by openai-whisper failed: {why} (connect to the network and run again)."
        )


class BadCheckpoint(InputError):
    """A checkpoint that wspy refuses to load."""

    def __init__(self, path: object, why: str) -> None:
        super().__init__(f"Cannot load the model at {path}: {why}")


class ChecksumMismatch(WspyError):
    """A model file that should have known content, and has not."""

    def __init__(self, path: object, expected: str, found: str, remedy: str) -> None:
        super().__init__(f"{path} is damaged: its SHA-256 is {found}, and should be {expected}. {remedy}")


class UnknownDevice(InputError):
    """A device that this machine does not have."""

    def __init__(self, device: str, available: Iterable[str]) -> None:
        super().__init__(f"Device {device!r} is not available: choose one of {', '.join(available)}.")


class UnknownLanguage(InputError):
    """A language that Whisper has no token for."""

    def __init__(self, language: str, known: Iterable[str]) -> None:
        super().__init__(f"Whisper knows no language {language!r}.{known_names(language, known)}")


class UnknownSite(InputError):
    """A site name or pattern that matches nothing in this model."""

    def __init__(self, pattern: str, known: Iterable[str]) -> None:
        nearest = difflib.get_close_matches(pattern, list(known), n=3, cutoff=0.4)
        hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
        super().__init__(f"No site of this model matches {pattern!r}.{hint} `wspy sites` lists them all.")


class BadShape(InputError):
    """A tensor of another shape than the model needs."""

    def __init__(self, what: str, found: Iterable[int], expected: str) -> None:
        super().__init__(f"{what} has the shape {list(found)}: give {expected}.")


class TooManyTokens(InputError):
    """A text longer than the decoder's context."""

    def __init__(self, n_tokens: int, limit: int, what: str = "The text") -> None:
        super().__init__(f"{what} makes {n_tokens} tokens with its prompt, and this model takes {limit}: shorten it.")
        self.n_tokens, self.limit = n_tokens, limit


# --- atlas ------------------------------------------------------------------------------------------------


class DamagedAtlas(WspyError):
    """A file of an atlas that cannot be read."""

    def __init__(self, folder: str, why: str) -> None:
        super().__init__(
            f"The atlas in {folder} cannot be read ({why}): delete that folder, and it will be built anew."
        )


class BadActivations(InputError):
    """Activations that no statistics can be made of: the model computes something broken."""

    def __init__(self, clip_id: str, why: str) -> None:
        super().__init__(
            f"On clip {clip_id!r} the model's activations are {why}: its weights are damaged, or too large."
        )


class OutdatedAtlas(DamagedAtlas):
    """An atlas whose layout an earlier wspy wrote; it is built anew without a word."""


class PartsDoNotFit(InputError):
    """Parts of an atlas that do not make up one whole."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"These parts do not make an atlas: {why}. Give each part that `wspy atlas build --part I/N` wrote, once."
        )


class UnknownAtlas(InputError):
    """No atlas of such a site is kept."""

    def __init__(self, pattern: str, known: Iterable[str]) -> None:
        super().__init__(f"No atlas of {pattern!r} is kept here.{known_names(pattern, known)} See: wspy atlas list")


class NoPhones(InputError):
    """Phones were asked for, and the atlas has none."""

    def __init__(self, corpus: str, site: str) -> None:
        super().__init__(
            f"No phones were counted for {site} over corpus {corpus!r}: they need a corpus with phones "
            "(wspy corpus align NAME) and a site over frames of sound."
        )


class BadPart(InputError):
    """A part of an atlas that cannot be built as it was asked for."""

    def __init__(self, given: str, why: str) -> None:
        super().__init__(f"--part {given} cannot be built: {why}. Give for instance: --part 2/4 --out FOLDER")


class NotStepwise(InputError):
    """An atlas was asked for a site whose units have no value per frame or token, or for several sites."""

    def __init__(self, site: str) -> None:
        super().__init__(
            f"{site!r} does not name one site with a value per frame or token: choose an mlp, residual, attention, "
            "heads or norm site from: wspy sites"
        )


class NoText(InputError):
    """A decoder site needs words, and no clip of the corpus has any."""

    def __init__(self, corpus: str) -> None:
        super().__init__(
            f"No clip of corpus {corpus!r} has a text to teach the decoder: make it with texts or --align."
        )


# --- phone statistics -------------------------------------------------------------------------------------


class DifferentCalibration(InputError):
    """Two atlases whose phone statistics were not counted alike cannot be merged."""

    def __init__(self, lag: int, other_lag: int) -> None:
        how = f"at lags of {lag} and {other_lag} frames" if lag != other_lag else "with ranks of different clips"
        super().__init__(
            f"These phone statistics were counted {how}, so they cannot be merged: build the second atlas again "
            "with the calibration of the first."
        )
        self.lag, self.other_lag = lag, other_lag


# --- audio ------------------------------------------------------------------------------------------------


class AudioError(InputError):
    """A sound that cannot be used; `reason` is its short name in the counts of a corpus."""

    reason = "unusable"


class AudioNotFound(AudioError):
    """No such file."""

    reason = "missing"

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no audio file {path}: check the path.")


class AudioUnreadable(AudioError):
    """A file or folder that may not be opened."""

    reason = "not readable"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} cannot be opened ({why}): check its permissions.")


class AudioEmpty(AudioError):
    """A file without a single byte or sample."""

    reason = "empty"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is empty: give a file with sound in it.")


class AudioTooShort(AudioError):
    """Less than one frame of Whisper."""

    reason = "too short"

    def __init__(self, path: str, duration_s: float, least_s: float) -> None:
        super().__init__(
            f"{path} lasts {duration_s * 1000:.1f} ms, less than one frame: give at least {least_s * 1000:.0f} ms."
        )


class AudioTooLong(AudioError):
    """More than one window of Whisper, where only one is possible."""

    reason = "too long"

    def __init__(self, what: str, duration_s: float, limit_s: float) -> None:
        super().__init__(
            f"{what} lasts {duration_s:.1f} s, more than {limit_s:g} s: cut it into windows with --window."
        )


class AudioSilent(AudioError):
    """Nothing but zeros."""

    reason = "silent"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is silent (all samples are zero): give a recording with sound in it.")


class AudioNotFinite(AudioError):
    """Samples that are not numbers."""

    reason = "NaN or infinite samples"

    def __init__(self, path: str, at_s: float) -> None:
        super().__init__(
            f"{path} has a NaN or infinite sample at {at_s:.3f} s: export it again from where it was made."
        )


class AudioTruncated(AudioError):
    """A file that ends before its own header says."""

    reason = "truncated"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} is cut off ({why}): copy or download it again.")


class NotAudio(AudioError):
    """A file that nothing here can decode."""

    reason = "not audio"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"{path} cannot be read as audio ({why}): give WAV, FLAC, OGG or MP3, or install ffmpeg for more."
        )


class AudioSampleRate(AudioError):
    """A sample rate that no speech recording has."""

    reason = "sample rate"

    def __init__(self, path: str, rate: int, low: int, high: int) -> None:
        super().__init__(f"{path} has a sample rate of {rate} Hz: give {low} to {high} Hz.")


class AudioRange(AudioError):
    """A part of a recording that the recording does not have."""

    reason = "range"

    def __init__(self, path: str, start_s: float, end_s: float | None, duration_s: float) -> None:
        end = "its end" if end_s is None else f"{end_s:g} s"
        super().__init__(f"{path} has no part from {start_s:g} s to {end}: it lasts {duration_s:.3f} s.")


# --- corpora ----------------------------------------------------------------------------------------------


class UnknownCorpus(InputError):
    """A corpus that does not exist."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no corpus {name!r}.{known_names(name, known)}")


class BadCorpusName(InputError):
    """A name that cannot be a folder everywhere."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} cannot name a corpus: use up to 100 letters, digits, '-', '_' and '.', beginning with a "
            "letter or digit."
        )


class CorpusExists(InputError):
    """Another corpus of this name, made in another way."""

    def __init__(self, name: str, source: str, differs: Iterable[str]) -> None:
        super().__init__(
            f"Corpus {name!r} exists, made from {source} with another {', '.join(differs)}: choose another name, "
            f"or remove it first (wspy corpus remove {name})."
        )


class DamagedCorpus(WspyError):
    """A file of a corpus that cannot be read."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"Corpus {name!r} cannot be read ({why}): remove it (wspy corpus remove {name}) and make it again."
        )


class NoAudio(InputError):
    """A source that holds nothing to listen to."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(f"No usable audio in {source} ({why}): give a folder, a manifest or a file with audio.")


class UnknownSource(InputError):
    """Neither a path nor a source that is known."""

    def __init__(self, source: str, schemes: Iterable[str]) -> None:
        super().__init__(
            f"Cannot make a corpus from {source!r}: there is no such file or folder, and it names no known source "
            f"({', '.join(sorted(schemes))})."
        )


class DuplicateSource(WspyError):
    """Two sources of one scheme."""

    def __init__(self, scheme: str) -> None:
        super().__init__(f"A corpus source {scheme!r} is already registered: give the new one another name.")


class BadTableFile(InputError):
    """A manifest or an alignment file that does not say what it must."""

    def __init__(self, path: str, why: str, needed: str) -> None:
        super().__init__(f"{path} cannot be used ({why}): it needs {needed}.")


class ListedFileMissing(InputError):
    """A file that a manifest names and that is not there."""

    def __init__(self, manifest: str, line: int, path: str) -> None:
        super().__init__(
            f"{manifest}, line {line}, names {path}, which does not exist: paths count from the manifest's folder."
        )


class MissingExtra(WspyError):
    """Something that needs packages of an optional group."""

    def __init__(self, what: str, packages: Iterable[str]) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install {' '.join(packages)}")


class HubUnreachable(WspyError):
    """A dataset that could not be opened."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"The dataset {name} cannot be opened ({why}): check its name and the network, or give a local folder."
        )


class NothingAligned(InputError):
    """An alignment of which no interval fits the corpus."""

    def __init__(self, corpus: str, why: str) -> None:
        super().__init__(
            f"No clip of corpus {corpus!r} could be aligned ({why}): give texts in English, or --words and --phones."
        )


# --- words in and out of the decoder ----------------------------------------------------------------------


class EmptyCut(InputError):
    """A stretch of frames or seconds that ends before it begins, or is given by half."""

    def __init__(self, start: str, stop: str) -> None:
        super().__init__(f"A cut from {start} to {stop} holds nothing: give a stop after the start.")


class BadCut(InputError):
    """What is to be chopped was said in two ways, by half, or for no recording."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}: give a recording with --start and --stop, --start-s and --stop-s, or --word.")


class WordNotHeard(InputError):
    """A word to be chopped that the model did not write, or not that often."""

    def __init__(self, word: str, heard: Iterable[str], occurrence: int | None = None) -> None:
        which = "" if occurrence is None else f" a {occurrence}. time" if occurrence > 1 else ""
        super().__init__(f"The model does not hear {word!r}{which} here. It hears: {', '.join(heard) or 'no word'}.")


class NothingHeard(InputError):
    """Audio for which the model writes no word, where words are needed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The model writes no word for {what}: give a recording of speech, or a cut by frames.")


class EmptyPrompt(InputError):
    """A prompt without a token."""

    def __init__(self) -> None:
        super().__init__(
            "The prompt is empty: give a word with the space before it, such as --prompt ' traffic' (what the model "
            "predicts without a prompt is shown beside)."
        )


class UnknownToken(InputError):
    """A special token that this model does not have."""

    def __init__(self, token: str, known: Iterable[str]) -> None:
        nearest = difflib.get_close_matches(token, list(known), n=3)
        hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
        super().__init__(f"This model has no token {token}.{hint} Plain words need no <| |>.")


class EnglishOnly(InputError):
    """Something that only multilingual models do."""

    def __init__(self, model: str, what: str) -> None:
        super().__init__(f"{model} is an English-only model and cannot {what}: choose a multilingual one, like base.")


# --- attention --------------------------------------------------------------------------------------------


class WindowTooWide(InputError):
    """Attention windows that no sound is long enough for: nothing of it would be hidden."""

    def __init__(self, what: str, n_frames: int, duration_s: float, k: int) -> None:
        super().__init__(
            f"{what} has {n_frames} frames ({duration_s:.2f} s), and a window of k = {k} hides none of them from "
            f"another: choose k below {n_frames}, or longer audio."
        )


# --- relevance --------------------------------------------------------------------------------------------


class NothingToExplain(InputError):
    """Audio for which the model writes no word, where each word was to be explained."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The model writes no word for {what}: give a recording of speech, or use --target encoder.")


# --- ablation ---------------------------------------------------------------------------------------------


class UnknownPhone(InputError):
    """A phone that no word of the corpus has."""

    def __init__(self, phone: str, corpus: str, known: Iterable[str]) -> None:
        super().__init__(f"No word of corpus {corpus!r} has a phone {phone!r}.{known_names(phone, known)}")


class PhoneNeedsAlignment(InputError):
    """Words with a phone were asked for, and the corpus does not know its phones."""

    def __init__(self, corpus: str) -> None:
        super().__init__(
            f"--phone needs words and phones that are aligned: run wspy corpus align {corpus}, or leave --phone out."
        )


# --- embeddings -------------------------------------------------------------------------------------------


class EmptyWord(InputError):
    """Nothing, or spaces alone, where a word was asked for."""

    def __init__(self) -> None:
        super().__init__("--word is empty: give a token, with the space before it, such as --word ' rug'.")


class NotOneToken(InputError):
    """A word that the model writes with several tokens, so that it has no embedding of its own."""

    def __init__(self, word: str, pieces: Iterable[str], instead: Iterable[str]) -> None:
        written = " + ".join(map(repr, pieces))
        near = ", ".join(map(repr, instead))
        choice = f"choose one of these, or {near}" if near else "choose one of these"
        super().__init__(f"{word!r} is no single token of this model, but {written}: {choice}.")


# --- on the web -------------------------------------------------------------------------------------------


class UploadTooLong(AudioError):
    """A recording that is longer than the web page takes."""

    reason = "too long"

    def __init__(self, name: str, limit_s: float) -> None:
        super().__init__(
            f"{name} lasts more than {limit_s:g} s, the most that this page takes: cut it, or record less."
        )


class NotOffered(InputError):
    """A model or corpus that the page does not offer."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"This page offers no {what} {name!r}.{known_names(name, known)}")


class WritesNotAllowed(InputError):
    """What a visitor asked for would be kept on the server, and the server was not started for that."""

    def __init__(self, what: str, command: str) -> None:
        super().__init__(
            f"{what}, and visitors of this page may not make it: run {command} on the server, or start the page with "
            "--allow-writes."
        )


class TooManyWaiting(WspyError):
    """More questions than the web app queues."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} questions are waiting already: try again in a minute.")


class RunNotKept(InputError):
    """A link to a run of a visitor that the server has dropped, or never had."""

    def __init__(self) -> None:
        super().__init__("The run that this link names is not kept any more: ask the question again.")


class BadServer(InputError):
    """An address, a port or a login that the web app cannot be started with."""

    def __init__(self, option: str, why: str, remedy: str) -> None:
        super().__init__(f"{option}: {why}: {remedy}.")
