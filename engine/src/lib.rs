//! The engine an app embeds: driver, store and link around the replica.
