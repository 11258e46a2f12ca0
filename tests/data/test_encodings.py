import pytest

from tenfold.core.errors import InputError
from tenfold.data.encodings import decode_text

CHINESE = "姓名,性别,年龄,等级\n张三,男,34,优\n李四,女,28,良\n"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "gb18030", "gbk", "gb2312", "utf-16", "utf-32"])
def test_a_short_chinese_table_is_read_in_every_usual_encoding(codec):
    assert decode_text(CHINESE.encode(codec), "t.csv")[0] == CHINESE


@pytest.mark.parametrize(
    "text", ["性别\n", "是,否", "价格,城市\n1,北京\n", "地址;评论\n1;早餐太差，无论去多少人，那边也不加食品的。\n"]
)
def test_a_few_chinese_characters_are_enough_for_gb18030(text):
    assert decode_text(text.encode("gb18030"), "t.csv") == (text, "GB18030")


@pytest.mark.parametrize("text", ["Größe,Käse\n1,süß\n", "café,niño\n3,señor\n", "prix €,âge\n1,2\n"])
def test_western_text_is_not_taken_for_chinese(text):
    assert decode_text(text.encode("cp1252"), "t.csv") == (text, "Windows-1252")


def test_long_cyrillic_text_is_left_to_the_detector():
    text = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. " * 5
    assert decode_text(text.encode("cp1251"), "t.csv")[0] == text


def test_a_rare_character_of_four_bytes_is_kept():
    text = "名字\n" + "张三" * 20 + "㐂\n"
    assert decode_text(text.encode("gb18030"), "t.csv")[0] == text


def test_zero_bytes_are_no_text():
    with pytest.raises(InputError, match=r"t\.bin: this is no text file"):
        decode_text(b"PK\x03\x04\x00\x00", "t.bin")


def test_a_torn_utf16_file_is_named():
    with pytest.raises(InputError, match=r"t\.csv: cannot be decoded as utf-16"):
        decode_text(b"\xff\xfea\x00b", "t.csv")


def test_bytes_in_no_encoding_are_refused():
    with pytest.raises(InputError, match="encoding cannot be told"):
        decode_text(bytes(range(128, 256)) * 3 + b"\x81\xff\xfe\x8d", "t.csv")
