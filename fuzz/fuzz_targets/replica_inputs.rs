#![no_main]
sheaf_fuzz::target!("replica_inputs");
