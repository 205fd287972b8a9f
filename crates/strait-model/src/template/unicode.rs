//! Characters as Python knows them. Where the standard library's tables do not tell, `None`: the caller refuses.

/// True if Python counts a character as whitespace.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// True if Python's `repr` shows a character as it is.
pub fn is_printable(c: char) -> bool {
    // Only a text's first character is escaped for being a mark.
    c == '\'' || c == '"' || c == '\\' || ['a', c].iter().collect::<String>().escape_debug().count() == 2
}

/// `str.isalpha` of a character.
pub fn is_letter(c: char) -> Option<bool> {
    if c.is_ascii() || !c.is_alphabetic() {
        return Some(c.is_ascii_alphabetic());
    }
    let is_common = matches!(c,
        '\u{aa}'..='\u{24f}' | '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' | '\u{531}'..='\u{556}'
        | '\u{561}'..='\u{587}' | '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}' | '\u{904}'..='\u{939}'
        | '\u{e01}'..='\u{e30}' | '\u{10d0}'..='\u{10fa}' | '\u{1e00}'..='\u{1fff}' | '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{20000}'..='\u{2a6df}');
    is_common.then_some(true)
}

/// `str.isdigit`, `str.isdecimal` and `str.isnumeric` of a character, which agree where this tells.
pub fn is_digit(c: char) -> Option<bool> {
    if c.is_ascii() {
        return Some(c.is_ascii_digit());
    }
    // Some ideographs are numbers to Python.
    let is_ideograph =
        matches!(c, '\u{3000}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    (!c.is_numeric() && !is_ideograph).then_some(false)
}

/// `str.isalnum` of a character.
pub fn is_alphanumeric(c: char) -> Option<bool> {
    if is_letter(c)? { Some(true) } else { is_digit(c) }
}

/// The text that a word's first character becomes in a title.
pub fn title(c: char) -> Option<String> {
    let has_own_title = matches!(c, '\u{1c4}'..='\u{1cc}' | '\u{1f1}'..='\u{1f3}' | '\u{10d0}'..='\u{10ff}');
    let upper: String = c.to_uppercase().collect();
    (!has_own_title && upper.chars().count() == 1).then_some(upper)
}

/// True if a character has a case.
pub fn is_cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase() || matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}')
}
