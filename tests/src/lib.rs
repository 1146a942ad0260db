//! Harness that disturbs the product: simulation, crashes, privacy, command line.
