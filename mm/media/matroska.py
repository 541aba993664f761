"""How long a Matroska or WebM file should be (RFC 9559, 2024): its demuxer takes a file that was cut off for a shorter clip."""

EBML_HEADER, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def promised_bytes(head: bytes) -> int | None:
    """Bytes of the whole file, by its first ones; None for other formats, and where the writer did not know, as in a live recording."""
    if not head.startswith(EBML_HEADER):
        return None
    length, size = number(head, 4)
    place = 4 + length + (size or 0)
    if head[place:place + 4] != SEGMENT:
        return None
    length, size = number(head, place + 4)
    return None if size is None else place + 4 + length + size


def number(head: bytes, place: int) -> tuple[int, int | None]:
    """How many bytes a number of variable length takes, and what it says; None for "unknown", all bits set."""
    if place >= len(head) or not head[place]:
        return 0, None
    length = 9 - head[place].bit_length()
    value = int.from_bytes(head[place:place + length]) & (1 << 7 * length) - 1
    return length, None if value == (1 << 7 * length) - 1 else value
