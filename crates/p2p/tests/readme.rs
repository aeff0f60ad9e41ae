//! What the README promises about itself. Its programs are compiled as doc tests of the facade.

const README: &str = include_str!("../../../README.md");

/// The programs, in order.
fn programs() -> Vec<&'static str> {
    let blocks = README.split("```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix("rust")?.split_once('\n'))
        .map(|(_, program)| program)
        .collect()
}

#[test]
fn a_program_that_answers_a_protocol_of_its_own_has_at_most_20_lines() {
    let programs = programs();
    let server = programs.first().expect("the README shows a program");

    assert!(server.contains("fn main()") && server.contains("host.handle("));
    let lines = server.lines().count();
    assert!(lines <= 20, "{lines} lines:\n{server}");
}
