#![no_main]
sheaf_fuzz::target!("server_frame");
