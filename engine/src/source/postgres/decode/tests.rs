//! Decoding of hand-made COPY streams, whole and cut at every byte.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;

use super::super::types::Wire;
use super::*;

fn columns() -> Vec<Column> {
    let column = |name: &str, wire| Column {
        name: name.to_owned(),
        wire,
        type_name: String::new(),
        as_text: false,
        nullable: name != "id",
    };
    vec![column("id", Wire::Int4), column("name", Wire::Text), column("tags", Wire::List(Box::new(Wire::Int4)))]
}

fn value(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn null() -> Vec<u8> {
    (-1_i32).to_be_bytes().to_vec()
}

fn array(dimensions: i32, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [dimensions, 1, 23].map(i32::to_be_bytes).concat();
    if dimensions > 0 {
        bytes.extend([i32::try_from(elements.len()).unwrap(), 1].map(i32::to_be_bytes).concat());
    }
    bytes.extend(elements.concat());
    value(&bytes)
}

fn copy(rows: &[[Vec<u8>; 3]]) -> Vec<u8> {
    let mut bytes = [SIGNATURE, &[0; 8]].concat();
    for row in rows {
        bytes.extend(3_i16.to_be_bytes());
        bytes.extend(row.concat());
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

fn sample() -> Vec<u8> {
    let int = |number: i32| value(&number.to_be_bytes());
    copy(&[
        [int(1), value("ä".as_bytes()), array(1, &[int(7), null()])],
        [int(2), null(), null()],
        [int(3), value(b""), array(0, &[])],
    ])
}

fn check(batch: &RecordBatch) {
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 2, 3]);
    let names: Vec<_> = batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(names, [Some("ä"), None, Some("")]);
    let tags = batch.column(2).as_list::<i32>();
    assert!(tags.is_valid(0) && tags.is_null(1) && tags.is_valid(2));
    let first = tags.value(0);
    assert_eq!(first.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(7), None]);
    assert_eq!(tags.value_length(2), 0);
}

#[test]
fn a_stream_decodes_whole_and_cut_anywhere() {
    let bytes = sample();
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        let mut decoder = Decoder::new(&columns(), 8192);
        decoder.feed(left).unwrap();
        decoder.feed(right).unwrap();
        decoder.end_copy().unwrap();
        check(&decoder.batch().unwrap());
    }
}

#[test]
fn a_second_copy_follows_the_first() {
    let mut decoder = Decoder::new(&columns(), 8192);
    for _ in 0..2 {
        decoder.feed(&sample()).unwrap();
        decoder.end_copy().unwrap();
        check(&decoder.batch().unwrap());
        assert!(decoder.is_empty());
    }
}

#[test]
fn a_stream_without_trailer_is_not_taken_for_the_end() {
    let bytes = sample();
    let mut decoder = Decoder::new(&columns(), 8192);
    decoder.feed(&bytes[..bytes.len() - 2]).unwrap();
    assert_eq!(decoder.end_copy().unwrap_err().class(), ErrorClass::Unavailable);
}

#[test]
fn values_without_counterpart_name_their_column() {
    let int = |number: i32| value(&number.to_be_bytes());
    let mut decoder = Decoder::new(&columns(), 8192);
    let error = decoder.feed(&copy(&[[int(1), null(), array(2, &[])]])).unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "source-value"));
    assert!(error.to_string().contains("'tags'"), "{error}");

    let mut decoder = Decoder::new(&columns(), 8192);
    decoder.feed(&copy(&[[int(1), value(&[0xff]), null()]])).unwrap();
    let error = decoder.batch().unwrap_err();
    assert_eq!(error.class(), ErrorClass::DataQuality);
    assert!(error.to_string().contains("'name'"), "{error}");

    let mut decoder = Decoder::new(&columns(), 8192);
    decoder.feed(&copy(&[[null(), null(), null()]])).unwrap();
    assert_eq!(decoder.batch().unwrap_err().class(), ErrorClass::DataQuality);
}

#[test]
fn bytes_that_are_not_copy_are_refused() {
    let int = |number: i32| value(&number.to_be_bytes());
    let mut decoder = Decoder::new(&columns(), 8192);
    assert_eq!(decoder.feed(&[b'x'; 32]).unwrap_err().class(), ErrorClass::Internal);
    let mut decoder = Decoder::new(&columns(), 8192);
    let wrong = copy(&[[value(&[0; 3]), int(0), null()]]);
    assert_eq!(decoder.feed(&wrong).unwrap_err().class(), ErrorClass::Internal);
}

#[test]
fn a_batch_is_full_by_rows_or_by_bytes() {
    let int = |number: i32| value(&number.to_be_bytes());
    let mut decoder = Decoder::new(&columns(), 3);
    decoder.feed(&sample()).unwrap();
    assert!(decoder.is_full());
    let mut decoder = Decoder::new(&columns(), 8192);
    decoder.feed(&copy(&[[int(1), value(&vec![b'x'; MAX_BATCH_BYTES]), null()]])).unwrap();
    assert!(decoder.is_full());
}
