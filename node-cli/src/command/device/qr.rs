//! A link code to be photographed from a terminal.

use std::io::IsTerminal;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::output::say;
use crate::request::Settings;

/// Draws a code on standard error, if somebody is there to see it.
pub(super) fn show(settings: &Settings, code: &str) {
    if settings.printer.is_json() || !std::io::stderr().is_terminal() {
        return;
    }
    if let Some(drawn) = draw(code) {
        say(&drawn);
    }
}

/// Two modules a character, light on dark; nothing if the text is too long for any code.
fn draw(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let drawn = code
        .render::<Dense1x2>()
        // A terminal is dark as a rule, and a scanner takes dark modules on light ground.
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Some(drawn)
}

#[cfg(test)]
mod tests;
