use super::draw;

#[test]
fn a_code_is_a_square_of_half_blocks() {
    let drawn = draw("sheaf-link:0123456789").unwrap();
    let lines: Vec<&str> = drawn.lines().collect();
    let width = lines[0].chars().count();
    assert!(lines.iter().all(|line| line.chars().count() == width));
    assert_eq!(lines.len(), width.div_ceil(2));
    assert!(drawn.chars().all(|c| " ▀▄█\n".contains(c)), "{drawn}");
    // The quiet zone is bright, so that the code stands out on a dark terminal.
    assert!(lines[0].chars().all(|c| c == '█'), "{drawn}");
}

#[test]
fn what_no_code_holds_is_not_drawn() {
    assert_eq!(draw(&"x".repeat(5_000)), None);
}
