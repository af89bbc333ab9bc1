//! Arrays whose nested fields are called otherwise in files than in the table. Pure.

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// The array under a type that differs only in the names of nested fields.
pub(super) fn retype(array: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == kind {
        return Ok(array.clone());
    }
    Ok(make_array(retype_data(array.to_data(), kind)?))
}

fn retype_data(data: ArrayData, kind: &DataType) -> Result<ArrayData, ArrowError> {
    let kinds: Vec<&DataType> = match kind {
        DataType::Struct(children) => children.iter().map(|child| child.data_type()).collect(),
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => vec![item.data_type()],
        _ => vec![],
    };
    let children = data.child_data().iter().cloned().zip(kinds);
    let children = children.map(|(child, kind)| retype_data(child, kind)).collect::<Result<Vec<_>, _>>()?;
    data.into_builder().data_type(kind.clone()).child_data(children).build()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int32Array, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn nested_fields_take_their_table_names() {
        let child = Arc::new(Field::new("col-2", DataType::Int32, true));
        let array: ArrayRef =
            Arc::new(StructArray::from(vec![(child, Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)]));
        let kind = DataType::Struct(vec![Field::new("age", DataType::Int32, true)].into());
        let renamed = retype(&array, &kind).unwrap();
        assert_eq!(renamed.data_type(), &kind);
        assert_eq!(renamed.as_struct().column(0).as_primitive::<arrow::datatypes::Int32Type>().value(1), 2);
    }
}
