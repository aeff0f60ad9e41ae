//! The exchange, over any byte stream.

use std::future::Future;
use std::task::Poll;

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use p2p_core::{Budget, Permit, frame};

use crate::call::Call;
use crate::error::{Refusal, RequestError, ServeError};

/// Asks on an open stream. The answer's memory is taken from `budget` while it is read.
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// See [`RequestError`].
pub async fn ask<Q, A>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    call: &Call<Q, A>,
    question: &Q,
    budget: &Budget,
) -> Result<A, RequestError> {
    let question = encode_question(call, question)?;
    ask_encoded(stream, call, &question, budget).await
}

/// The question with its length in front.
pub(crate) fn encode_question<Q, A>(
    call: &Call<Q, A>,
    question: &Q,
) -> Result<Vec<u8>, RequestError> {
    let question = (call.question.encode)(question);
    if question.len() > call.max_question {
        return Err(RequestError::QuestionTooLong {
            len: question.len(),
            max: call.max_question,
        });
    }
    Ok(frame::encode(&question))
}

pub(crate) async fn ask_encoded<Q, A>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    call: &Call<Q, A>,
    question: &[u8],
    budget: &Budget,
) -> Result<A, RequestError> {
    // An answerer that refuses early makes writing fail; why, reading tells.
    let written = async {
        stream.write_all(question).await?;
        // Not flushed in between, so that question and end travel together.
        stream.close().await
    };
    let written = written.await;
    let len = match (frame::read_length(stream, call.max_answer).await, written) {
        (Ok(len), _) => len,
        (Err(frame::Error::Ended), Err(error)) => {
            return Err(RequestError::from_io(error, &call.protocol));
        }
        (Err(error), _) => return Err(RequestError::from_frame(error, &call.protocol)),
    };
    let _permit = budget.reserve(len)?;
    let answer = frame::read_body(stream, len).await;
    let answer = answer.map_err(|error| RequestError::from_frame(error, &call.protocol))?;
    (call.answer.decode)(Bytes::from(answer)).map_err(RequestError::BadAnswer)
}

/// Answers one question on an open stream with what `handler` makes of it. The question's memory
/// is taken from `budget` until it is answered.
///
/// The caller sets the deadline, and resets the stream with [`ServeError::code`] on an error.
/// Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// See [`ServeError`].
pub async fn answer<Q, A, Answering>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    call: &Call<Q, A>,
    budget: &Budget,
    handler: impl FnOnce(Q) -> Answering,
) -> Result<(), ServeError>
where
    Answering: Future<Output = Result<A, Refusal>>,
{
    let (question, permit) = read_question(stream, call, budget).await?;
    let mut answering = std::pin::pin!(handler(question));
    let answer = match futures::poll!(&mut answering) {
        Poll::Ready(answer) => answer,
        Poll::Pending => {
            // Our consent to the protocol otherwise travels with the answer: do not let the
            // remote wait for both.
            stream.flush().await.map_err(ServeError::Io)?;
            answering.await
        }
    };
    let answer = answer.map_err(ServeError::Refused)?;
    drop(permit);
    let answer = (call.answer.encode)(&answer);
    if answer.len() > call.max_answer {
        return Err(ServeError::AnswerTooLong {
            len: answer.len(),
            max: call.max_answer,
        });
    }
    let written = async {
        stream.write_all(&frame::encode(&answer)).await?;
        stream.close().await
    };
    written.await.map_err(ServeError::Io)
}

async fn read_question<Q, A>(
    stream: &mut (impl AsyncRead + Unpin),
    call: &Call<Q, A>,
    budget: &Budget,
) -> Result<(Q, Permit), ServeError> {
    let len = frame::read_length(stream, call.max_question).await?;
    let permit = budget.reserve(len)?;
    let question = frame::read_body(stream, len).await?;
    let question = (call.question.decode)(Bytes::from(question));
    Ok((question.map_err(ServeError::BadQuestion)?, permit))
}
