//! Tables from objects of JSON, and back.

use serde_json::{Map, Value};

use super::{Column, Table};

impl Table {
    /// The rows as objects from column to value; null for no value, and for infinities, which JSON has not.
    pub fn objects(&self) -> Vec<Map<String, Value>> {
        let row = |row| self.columns.iter().map(|c| (c.name.clone(), c.values.json(row))).collect();
        (0..self.rows()).map(row).collect()
    }

    /// A table of objects, with all keys in the order of their first appearance: whole numbers or truths where each row has one, real
    /// numbers where no row has anything else, words where any has. A list or an object stands as JSON.
    pub fn of_objects(name: &str, about: &str, rows: &[Map<String, Value>]) -> Self {
        let mut keys = Map::new();
        for key in rows.iter().flat_map(Map::keys) {
            keys.entry(key.as_str()).or_insert(Value::Null);
        }
        keys.keys().fold(Self::new(name, about), |table, key| {
            let cells: Vec<&Value> = rows.iter().map(|row| row.get(key).unwrap_or(&Value::Null)).collect();
            table.with_column(key.as_str(), "", column(&cells))
        })
    }
}

fn column(cells: &[&Value]) -> Column {
    let integers = cells.iter().map(|cell| cell.as_i64()).collect::<Option<Vec<_>>>().map(Column::Integer);
    let truths =
        || cells.iter().map(|cell| cell.as_bool().map(Some)).collect::<Option<Vec<_>>>().map(Column::Truth);
    let holds_numbers = cells.iter().any(|cell| cell.is_number());
    let real = |cell: &&Value| match cell {
        Value::Null => Some(f64::NAN),
        cell => cell.as_f64(),
    };
    let reals =
        || cells.iter().map(real).collect::<Option<Vec<_>>>().filter(|_| holds_numbers).map(Column::Real);
    let text = |cell: &&Value| match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    integers.or_else(truths).or_else(reals).unwrap_or_else(|| Column::Text(cells.iter().map(text).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_have_the_kind_of_their_values() {
        let rows = [
            json!({ "n": 1, "x": 2, "t": true, "w": "a", "m": 1, "none": null }),
            json!({ "n": 2, "x": null, "t": false, "w": [1], "m": "b" }),
        ];
        let rows: Vec<Map<String, Value>> = rows.iter().map(|row| row.as_object().unwrap().clone()).collect();
        let table = Table::of_objects("t", "", &rows);
        assert_eq!(table.to_csv(), "n,x,t,w,m,none\n1,2.0,true,a,1,\n2,,false,[1],b,\n");
        assert_eq!(table.integer("n"), Some(&[1, 2][..]));
        let back = table.objects();
        assert_eq!((&back[0]["x"], &back[1]["x"], &back[1]["w"]), (&json!(2.0), &Value::Null, &json!("[1]")));
    }
}
