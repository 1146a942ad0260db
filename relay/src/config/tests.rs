use super::*;

fn environment(pairs: &[(&str, &str)]) -> config::Environment {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config::Environment::with_prefix(ENVIRONMENT_PREFIX)
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .source(Some(pairs.collect()))
}

fn load(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("relay.toml");
    std::fs::write(&file, text).unwrap();
    Config::from_sources(Some(&file), environment(pairs))
}

#[test]
fn nothing_said_is_the_default_and_the_default_is_valid() {
    assert_eq!(load("", &[]).unwrap(), Config::default());
    Config::default().validate().unwrap();
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = "listen = \"[::]:5000\"\n[limits]\nappends_per_second = 7\nappends_burst = 9\n";
    let pairs = [
        ("SHEAF_RELAY__LIMITS__APPENDS_BURST", "11"),
        ("SHEAF_RELAY__ADMISSION__MODE", "token"),
        ("SHEAF_RELAY__HTTP__ENABLED", "false"),
        ("SHEAF_RELAY__PUBLIC_HOST", "relay.example"),
        ("SHEAF_RELAY_CONFIG", "not a setting"),
    ];
    let config = load(text, &pairs).unwrap();
    assert_eq!(config.listen.port(), 5000);
    assert_eq!(config.limits.appends_per_second, 7);
    assert_eq!(config.limits.appends_burst, 11);
    assert_eq!(config.admission.mode, AdmissionMode::Token);
    assert!(!config.http.enabled);
    assert_eq!(config.public_host.as_deref(), Some("relay.example"));
    let error = config.validate().unwrap_err();
    assert!(
        error.to_string().contains("admission.tokens_file"),
        "{error}"
    );
}

#[test]
fn unknown_settings_and_senseless_values_are_refused() {
    assert!(load("lisen = \"[::]:1\"", &[]).is_err());
    assert!(load("[store]\nsize = 3", &[]).is_err());
    assert!(load("", &[("SHEAF_RELAY__STORE__SIZE", "3")]).is_err());
    assert!(load("not toml", &[]).is_err());
    assert!(Config::load(Some(Path::new("/nowhere.toml"))).is_err());
    let mut config = Config::default();
    config.limits.record_bytes_max = 65_537;
    assert!(config.validate().is_err());
    let mut config = Config::default();
    config.limits.bytes_per_second = 1_000;
    assert!(config.validate().is_err());
    let mut config = Config::default();
    config.store.retention_days = 0;
    assert!(config.validate().is_err());
}
