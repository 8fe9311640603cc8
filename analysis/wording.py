"""Numbers and their nouns in texts: "1 trial", "2 trials"."""


def counted(number: float, noun: str) -> str:
    """A whole number with its noun in the singular or plural.

    >>> counted(1, "trial"), counted(1200, "training iteration")
    ('1 trial', '1,200 training iterations')
    """
    return f"{number:,.0f} {noun if number == 1 else f'{noun}s'}"


def sentence_of(error: BaseException, length: int = 200) -> str:
    """An error on one line, as the end of a sentence.

    >>> sentence_of(TypeError("boolean value of NA\\n is ambiguous"))
    'TypeError: boolean value of NA is ambiguous'
    """
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
    return text if len(text) <= length else f"{text[: length - 1]}…"
