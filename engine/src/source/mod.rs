//! Sources: files and databases as work lists.
