#![no_main]
sheaf_fuzz::target!("store_rows");
