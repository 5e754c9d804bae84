//! muster
pub mod admin;
pub mod config;
pub mod model;
pub mod source;
pub mod telemetry;
