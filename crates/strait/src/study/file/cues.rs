//! `[[cue]]`: what is put around questions.

use super::{RowKeys, data::rows, names::name};
use crate::keys::{At, count, keys, text, word};

keys! {
    /// A `[[cue]]`.
    #[derive(Clone, Debug)]
    pub(crate) struct CueKeys {
        /// Names it in tables.
        name: String = name(), required;
        /// A system prompt, in place of the question's own.
        system: String = word(), left_out "the cue is one of the others";
        /// Text right before the question.
        prefix: String = text(), left_out "the cue is one of the others";
        /// Text right behind it, such as the format that it asks for.
        suffix: String = text(), left_out "the cue is one of the others";
        /// Rows that stand before the question as earlier turns, such as training rows.
        rows: Vec<At<RowKeys>> = rows(), left_out "the cue is one of the others";
        /// The number of these rows, the first ones.
        turns: usize = count(1..=100), default 1;
        /// Its control: another text of the same form, which has nothing to do with training.
        control: String = text(), left_out "none is read";
        /// The control of a cue of rows: other rows.
        control_rows: Vec<At<RowKeys>> = rows(), left_out "none is read";
    }
}
