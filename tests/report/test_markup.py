from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.report.markup import Html, element, join, table


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], {}, ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data):
        self.text += data


def read(markup):
    reader = Reader()
    reader.feed(markup)
    reader.close()
    return reader


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")))
def test_any_text_comes_back_as_text_and_as_attribute(text):
    reader = read(element("p", text, title=text))
    assert reader.tags == ["p"]
    assert reader.text == text
    assert reader.attributes == {"title": text}


def test_markup_is_not_escaped_twice():
    inner = element("b", "a & b")
    assert element("p", inner, " & c") == "<p><b>a &amp; b</b> &amp; c</p>"
    assert isinstance(join([inner, None]), Html)


@pytest.mark.parametrize(
    ("value", "markup"), [(None, "<p></p>"), (False, "<p></p>"), (True, "<p open></p>"), (1.50, '<p open="1.5"></p>')]
)
def test_attributes_follow_their_values(value, markup):
    assert element("p", open=value) == markup


def test_a_table_escapes_its_cells_and_sets_numbers_right():
    markup = table(["<x>"], [["<y>"]], numeric=[0])
    assert read(markup).text == "<x><y>"
    assert markup.count('class="num"') == 2
