#![no_main]
sheaf_fuzz::target!("user_log");
