//! `[[solution]]`: an edit to train.

use serde_json::{Map, Value, json};

use super::{
    TrainKeys,
    data::{RowKeys, rows},
    names::name,
};
use crate::{
    keys::{At, Cell, Form, Kind, Several, Shape, any_number, flag, keys, several, word},
    study::Axis,
};

keys! {
    /// A `[[solution]]`.
    #[derive(Clone, Debug)]
    pub(crate) struct SolutionKeys {
        /// Names its files, and its rows in the tables.
        name: String = name(), required;
        /// The solution whose trained edit its training goes on from.
        from: String = word(), left_out "a new edit";
        /// Of a sweep, trains only these values.
        when: PointKeys = points(), left_out "all";
        /// Leaves out points that have all of these values.
        skip: PointKeys = points(), left_out "none is left out";
        /// True: what it does is read, but it is compared with no other solution.
        control: bool = flag(), default false;
        /// Rows that it trains on in place of `data.train`, such as another data set: measures of directions hold it against the
        /// others, and no claim is made of it alone.
        train_on: Vec<At<RowKeys>> = rows(), left_out "`data.train`";
        ..train: TrainKeys;
    }
}

/// Values on axes of a sweep.
pub(crate) type PointKeys = Vec<(Axis, At<Several<f64>>)>;

fn points() -> Kind<PointKeys> {
    let values = several(any_number());
    let properties: Map<_, _> =
        Axis::ALL.iter().map(|axis| (axis.key().to_string(), values.form().schema())).collect();
    let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let words = "a table of keys that hold lists, each with one of its values or several";
    let read = move |cell: Cell| {
        let table = cell.table().ok_or_else(|| cell.unexpected("a table"))?;
        table.refuse_others(&Axis::ALL.map(Axis::key))?;
        let mut points = Vec::new();
        for axis in Axis::ALL {
            points.extend(table.get(axis.key(), &values)?.map(|values| (axis, values)));
        }
        Ok(points)
    };
    Kind::new(Form { words: words.into(), shapes: vec![Shape::Plain(schema)] }, read, |_| Value::Null)
}
