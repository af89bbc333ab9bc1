//! Whole pages, and what is written about them elsewhere: documentation, dashboard and alerts.

mod documents;
mod pages;
