"""Bytes to text: UTF-8 and what else tables come in, GB18030 above all.

UTF-8 is tried strictly and believed. Then come two judgements that hold for short files, where statistics over
letters fail: nearly all high bytes form pairs of the common part of GB2312 (GB18030's core), or nearly all stand
alone between ASCII (Western European). `charset-normalizer` judges the rest.
"""

from __future__ import annotations

import codecs

import charset_normalizer

from tenfold.core.errors import InputError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
# The most frequent characters of written Chinese: a long text without them is not Chinese read rightly.
_FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
)
_WESTERN_SIGNS = frozenset("€‚„…‘’“”•–—Œœ™ŠšŽžŸ".encode("cp1252"))
_SAMPLE_BYTES = 1 << 20


def decode_text(data: bytes, where: str, encoding: str | None = None) -> tuple[str, str]:
    """Text and the name of the encoding it was in.

    Args:
        data: the file's bytes.
        where: the file's name for messages.
        encoding: what the user says it is, as Python names it; None looks.

    Raises:
        InputError: the bytes are no text, in no encoding that can be told, or not in the one named.

    Example:
        >>> decode_text("年龄,性别".encode("gb18030"), "people.csv")
        ('年龄,性别', 'GB18030')
    """
    if encoding is not None:
        try:
            return _decode(data, codecs.lookup(encoding).name, where), encoding
        except LookupError:
            raise InputError(
                f"{where}: there is no encoding {encoding!r}. 'utf-8', 'gb18030' and 'cp1252' are common."
            ) from None
    for mark, codec, name in _BOMS:
        if data.startswith(mark):
            return _decode(data, codec, where), name
    if b"\x00" in data[:_SAMPLE_BYTES]:
        raise InputError(f"{where}: this is no text file (it holds zero bytes). Give a CSV or TSV file.")
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        pass
    if _looks_like_gb18030(data):
        return data.decode("gb18030"), "GB18030"
    if _looks_western(data):
        return data.decode("cp1252"), "Windows-1252"
    return _guess(data, where)


def _decode(data: bytes, codec: str, where: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeError as error:
        raise InputError(f"{where}: cannot be decoded as {codec} ({error}). Save the file as UTF-8.") from error


def _looks_like_gb18030(data: bytes) -> bool:
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    high = [character for character in text if ord(character) > 127]
    common = sum(_is_common_gb2312(character) for character in high)
    if common < 0.9 * len(high):
        return False
    return len(high) < 200 or sum(character in _FREQUENT for character in high) > 0.02 * len(high)


def _is_common_gb2312(character: str) -> bool:
    """Whether a character lies in rows 1-3 (signs) or 16-87 (Chinese characters) of GB2312; kana do not."""
    try:
        pair = character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return pair[0] <= 0xA3 or 0xB0 <= pair[0] <= 0xF7


def _looks_western(data: bytes) -> bool:
    """Whether high bytes come alone or nearly so, and are letters and signs of Western European text."""
    sample = data[:_SAMPLE_BYTES]
    high = [index for index, byte in enumerate(sample) if byte > 127]
    runs = sum(index == 0 or sample[index - 1] < 128 for index in high)
    usual = sum(sample[index] >= 0xA0 or sample[index] in _WESTERN_SIGNS for index in high)
    # Pairs of bytes make two a run, words of other alphabets more.
    if runs < 0.55 * len(high) or usual < len(high):
        return False
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return True


def _guess(data: bytes, where: str) -> tuple[str, str]:
    best = charset_normalizer.from_bytes(data[:_SAMPLE_BYTES]).best()
    if best is not None:
        try:
            return data.decode(best.encoding), best.encoding.replace("_", "-")
        except UnicodeDecodeError:
            pass
    raise InputError(f"{where}: the text's encoding cannot be told. Save the file as UTF-8.")
