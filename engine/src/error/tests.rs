//! Classes through every wrapper, and messages in our words.

use std::backtrace::Backtrace;
use std::sync::Arc;

use datafusion::common::{Column, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use delta_kernel::Error as KernelError;

use super::*;

fn broken_connection() -> object_store::Error {
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    object_store::Error::Generic { store: "S3", source: Box::new(reset) }
}

/// What becomes of a Parquet reader's error on its way up.
const WRAPPERS: [fn(ParquetError) -> DataFusionError; 6] = [
    |error| DataFusionError::ParquetError(Box::new(error)),
    |error| DataFusionError::External(Box::new(error)),
    |error| DataFusionError::from(ArrowError::ExternalError(Box::new(error))),
    |error| DataFusionError::Shared(Arc::new(DataFusionError::ParquetError(Box::new(error)))),
    |error| DataFusionError::ParquetError(Box::new(error)).context("scan"),
    |error| DataFusionError::External(Box::new(DataFusionError::ParquetError(Box::new(error)))),
];

#[test]
fn a_damaged_file_is_not_read_again_whatever_its_error_is_wrapped_in() {
    let damages: [fn() -> ParquetError; 4] = [
        || ParquetError::General("Invalid Parquet file. Corrupt footer".to_owned()),
        || ParquetError::EOF("expected 8 bytes, got 2".to_owned()),
        || ParquetError::External(Box::new(io::Error::from(io::ErrorKind::UnexpectedEof))),
        || ParquetError::External(Box::new(io::Error::new(io::ErrorKind::UnexpectedEof, "incomplete frame"))),
    ];
    for damaged in damages {
        for wrap in WRAPPERS {
            let error = EngineError::from(wrap(damaged()));
            assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, BAD_FILE), "{error}");
            assert!(!error.is_transient());
            assert!(error.to_string().starts_with("not a readable Parquet file: "), "{error}");
            assert!(damage(&wrap(damaged())).is_some());
        }
        assert_eq!(EngineError::from(damaged()).code(), BAD_FILE);
    }
    let lost = DataFusionError::from(ArrowError::from(ParquetError::General("Corrupt footer".to_owned())));
    assert_eq!(damage(&lost).as_deref(), Some("corrupt footer"));
    assert_eq!(EngineError::from(lost).code(), BAD_FILE);
}

#[test]
fn a_broken_connection_below_the_parquet_reader_is_tried_again() {
    let faults: [fn() -> ParquetError; 4] = [
        || ParquetError::External(Box::new(broken_connection())),
        || ParquetError::External(Box::new(io::Error::from(io::ErrorKind::ConnectionReset))),
        || ParquetError::External(Box::new(io::Error::other(broken_connection()))),
        || ParquetError::External(Box::new(EngineError::unavailable("store", "away"))),
    ];
    for fault in faults {
        for wrap in WRAPPERS {
            let error = EngineError::from(wrap(fault()));
            assert_eq!(error.class(), ErrorClass::Unavailable, "{error}");
            assert!(error.is_transient());
            assert_eq!(damage(&wrap(fault())), None);
        }
        assert_eq!(EngineError::from(fault()).class(), ErrorClass::Unavailable);
    }
    // The end of a connection, which a store has met.
    let ended = io::Error::from(io::ErrorKind::UnexpectedEof);
    let ended = object_store::Error::Generic { store: "S3", source: Box::new(ended) };
    let error = EngineError::from(ParquetError::External(Box::new(ended)));
    assert_eq!(error.class(), ErrorClass::Unavailable, "{error}");
}

#[test]
fn what_stands_below_an_error_of_the_kernel_is_found_and_told_in_one_line() {
    let traced = |error| {
        let backtrace = Box::new(Backtrace::force_capture());
        DeltaTableError::from(KernelError::Backtraced { source: Box::new(error), backtrace })
    };
    let error = EngineError::from(traced(KernelError::ObjectStore(broken_connection())));
    assert_eq!(error.class(), ErrorClass::Unavailable, "{error}");
    let error = EngineError::from(traced(KernelError::Arrow(ArrowError::JsonError("expected { got }".to_owned()))));
    assert_eq!((error.class(), error.code()), (ErrorClass::Internal, "delta"));
    assert_eq!(error.to_string(), "expected { got }");
}

fn no_column(wanted: &str, columns: &[(&str, &str)]) -> DataFusionError {
    let field = Box::new(Column::new_unqualified(wanted));
    let valid_fields = columns.iter().map(|(table, name)| Column::new(Some(*table), *name)).collect();
    DataFusionError::SchemaError(Box::new(SchemaError::FieldNotFound { field, valid_fields }), Box::new(None))
}

#[test]
fn messages_name_the_thing_and_what_was_expected_and_nothing_of_the_engine() {
    let numbers = [("numbers", "id"), ("numbers", "amount")];
    for (error, code, expected) in [
        (
            no_column("amuont", &numbers),
            "sql-plan",
            "there is no column 'amuont': expected one of id, amount; did you mean 'amount'?",
        ),
        (no_column("x", &[]), "sql-plan", "there is no column 'x'"),
        (
            no_column("zzz", &[("a", "id"), ("b", "id")]),
            "sql-plan",
            "there is no column 'zzz': expected one of a.id, b.id",
        ),
        (
            no_column("id", &[("t", "Id")]),
            "sql-plan",
            "there is no column 'id': expected one of \"Id\"; did you mean '\"Id\"'? A name with capital letters stands \
             in double quotes",
        ),
        (
            DataFusionError::Plan("Cannot coerce arithmetic expression Utf8View + Int64 to valid types".to_owned())
                .context("type_coercion"),
            "sql-plan",
            "cannot coerce arithmetic expression string + bigint to valid types",
        ),
        (
            DataFusionError::Collection(vec![
                DataFusionError::Plan("No a".to_owned()),
                DataFusionError::Plan("No a".to_owned()),
                DataFusionError::Plan("No b".to_owned()),
            ]),
            "sql-plan",
            "no a; no b",
        ),
        (
            DataFusionError::NotImplemented("Physical plan of Count(Count { name: \"x\" })".to_owned()),
            "sql-unsupported",
            "not supported: physical plan of Count(…)",
        ),
        (
            DataFusionError::from(ParserError::ParserError("Expected: an expression at Line: 1, Column: 8".to_owned())),
            "sql-syntax",
            "expected: an expression",
        ),
        (
            DataFusionError::from(ArrowError::CastError("Cannot cast string 'x' to value of Int64 type".to_owned())),
            "sql-runtime",
            "cannot cast string 'x' to value of bigint type",
        ),
        (DataFusionError::from(ArrowError::DivideByZero), "sql-runtime", "division by zero"),
        (DataFusionError::Internal("Field Utf8 is missing".to_owned()), "engine", "field string is missing"),
    ] {
        let error = EngineError::from(error);
        assert_eq!((error.code(), error.to_string().as_str()), (code, expected));
    }
}
