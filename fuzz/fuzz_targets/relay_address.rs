#![no_main]
sheaf_fuzz::target!("relay_address");
