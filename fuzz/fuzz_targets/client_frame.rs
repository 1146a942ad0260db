#![no_main]
sheaf_fuzz::target!("client_frame");
