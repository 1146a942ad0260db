#![no_main]
sheaf_fuzz::target!("sync_message");
