//! The exchange alone, over a pipe: a typed question and its answer.

use futures::executor::block_on;
use futures::future::join;
use p2p_core::Budget;
use p2p_request::{Call, answer, ask};

const SHOUT: Call<String, String> = Call::new("/shout/1.0.0").max_question(1024);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut asker, mut answerer) = p2p_memory::pipe(4096);
    let memory = Budget::new("memory of the example", "none", 64 << 10);
    let question = "hello".to_owned();
    let (shouted, served) = block_on(join(
        ask(&mut asker, &SHOUT, &question, &memory),
        answer(
            &mut answerer,
            &SHOUT,
            &memory,
            |question: String| async move { Ok(question.to_uppercase()) },
        ),
    ));
    served?;
    println!("{question} -> {}", shouted?);
    Ok(())
}
