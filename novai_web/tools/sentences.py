"""Wrong input in a person's words: what to write instead, for every kind of mistake a field can have."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

# By pydantic's name of the mistake; the braces are what it tells of the limit. Anything else keeps its own words.
PLAIN = {
    "missing": "This is missing. Fill it in.",
    "extra_forbidden": "There is no such field. Leave it out.",
    "int_parsing": "Write a whole number.",
    "int_type": "Write a whole number.",
    "int_from_float": "Write a whole number.",
    "int_parsing_size": "This number is too large.",
    "float_parsing": "Write a number.",
    "float_type": "Write a number.",
    "finite_number": "Write a number that is not infinite.",
    "bool_parsing": "Say true or false.",
    "bool_type": "Say true or false.",
    "string_type": "Write text.",
    "string_unicode": "This text has broken characters. Write it again.",
    "list_type": "Send a list.",
    "dict_type": "Send an object.",
    "greater_than": "Write a number above {gt}.",
    "greater_than_equal": "Write {ge} or more.",
    "less_than": "Write a number below {lt}.",
    "less_than_equal": "Write {le} or less.",
    "string_too_short": "Write at least {min_length} characters.",
    "string_too_long": "Write at most {max_length} characters.",
    "too_short": "Give at least {min_length}.",
    "too_long": "Give at most {max_length}; this is {actual_length}.",
    "literal_error": "Choose one of: {expected}.",
}
COLOUR = "Write a colour as # and six digits, such as #ffcc00."
PATTERN = "This is not written as it should be: {pattern}"
# Who sends a thousand wrong fields is not helped by a thousand sentences.
SENTENCES_MAX = 100


def sentences(error: ValidationError) -> dict[str, str]:
    """One sentence for each wrong field, by the field's name; `form` for what concerns the whole."""
    found: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False)[:SENTENCES_MAX]:
        name = str(problem["loc"][0]) if problem["loc"] else "form"
        found.setdefault(name, _sentence(problem))
    return found


def _sentence(problem: ErrorDetails) -> str:
    context = problem.get("ctx", {})
    if problem["type"] == "string_pattern_mismatch":
        return COLOUR if "0-9a-fA-F]{6}" in context["pattern"] else PATTERN.format(**context)
    plain = PLAIN.get(problem["type"])
    if plain is None:
        return problem["msg"].removeprefix("Value error, ")
    return plain.format(**{name: _shown(value) for name, value in context.items()})


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
