//! Requests on a swarm.

use std::future::Future;
use std::io::ErrorKind;
use std::sync::Arc;

use p2p_core::{Elapsed, ErrorCode, PeerId};
use p2p_swarm::{Connection, HandleError, IntoTarget, Stream, Swarm};

use crate::call::Call;
use crate::error::{Refusal, RequestError, ServeError};
use crate::exchange::{answer, ask_encoded, encode_question};

/// Asks and answers on a [`Swarm`].
pub trait RequestExt {
    /// Asks `target`, dialing if needed.
    ///
    /// On a connection that exists it takes one round trip and at most [`Call::timeout`]; a dial
    /// has the deadlines of the swarm. Cancel-safe in that a dropped call resets the stream; the
    /// remote may have answered all the same.
    ///
    /// # Errors
    /// See [`RequestError`].
    fn request<Q: Sync, A: Send>(
        &self,
        target: impl IntoTarget + Send,
        call: &Call<Q, A>,
        question: &Q,
    ) -> impl Future<Output = Result<A, RequestError>> + Send;

    /// Answers every question of `call` with what `handler` makes of it, each in a task of its
    /// own. A [`Refusal`] resets the stream of that question and nothing else, and so does a
    /// handler that takes longer than [`Call::timeout`]; it is dropped then.
    ///
    /// # Errors
    /// [`HandleError::Taken`] if the swarm has a handler for the protocol already.
    fn answer<Q, A, Answering>(
        &self,
        call: &Call<Q, A>,
        handler: impl Fn(Q, PeerId) -> Answering + Send + Sync + 'static,
    ) -> Result<(), HandleError>
    where
        Q: Send + 'static,
        A: Send + 'static,
        Answering: Future<Output = Result<A, Refusal>> + Send + 'static;
}

impl RequestExt for Swarm {
    async fn request<Q: Sync, A: Send>(
        &self,
        target: impl IntoTarget + Send,
        call: &Call<Q, A>,
        question: &Q,
    ) -> Result<A, RequestError> {
        let question = encode_question(call, question)?;
        let connection = self.dial(target).await?;
        let start = self.rt().now();
        let after = call.timeout;
        match self
            .rt()
            .timeout(after, ask_on(&connection, call, &question))
            .await
        {
            // The remote did not even agree to the protocol.
            Ok(Err(RequestError::Io(error))) if error.kind() == ErrorKind::TimedOut => {
                let after = self.rt().now() - start;
                Err(RequestError::TimedOut { after })
            }
            Ok(answer) => answer,
            Err(Elapsed) => Err(RequestError::TimedOut { after }),
        }
    }

    fn answer<Q, A, Answering>(
        &self,
        call: &Call<Q, A>,
        handler: impl Fn(Q, PeerId) -> Answering + Send + Sync + 'static,
    ) -> Result<(), HandleError>
    where
        Q: Send + 'static,
        A: Send + 'static,
        Answering: Future<Output = Result<A, Refusal>> + Send + 'static,
    {
        let protocol = call.protocol.clone();
        let shared = Arc::new((call.clone(), handler));
        self.handle_with(protocol, call.options(), move |stream: Stream| {
            let shared = Arc::clone(&shared);
            async move {
                let (call, handler) = &*shared;
                let peer = stream.peer();
                serve(stream, call, |question| handler(question, peer)).await
            }
        })
    }
}

async fn ask_on<Q, A>(
    connection: &Connection,
    call: &Call<Q, A>,
    question: &[u8],
) -> Result<A, RequestError> {
    let _slot = connection.slot(&call.protocol, call.max_asking).await;
    let mut asking = Asking {
        stream: connection.open(&call.protocol).await?,
        answered: false,
    };
    let answer = ask_encoded(&mut asking.stream, call, question, connection.budget()).await?;
    asking.answered = true;
    Ok(answer)
}

/// Resets the stream of a question whose answer nobody waits for any more. Our side of it is
/// closed, so that dropping it alone would leave it to the remote.
struct Asking {
    stream: Stream,
    answered: bool,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.answered {
            self.stream.reset(ErrorCode::NONE);
        }
    }
}

async fn serve<Q, A, Answering>(
    mut stream: Stream,
    call: &Call<Q, A>,
    handler: impl FnOnce(Q) -> Answering,
) -> Result<(), ServeError>
where
    Answering: Future<Output = Result<A, Refusal>>,
{
    let connection = stream.connection();
    let (rt, after) = (connection.rt(), call.timeout);
    let answered = answer(&mut stream, call, connection.budget(), handler);
    let result = match rt.timeout(after, answered).await {
        Ok(result) => result,
        Err(Elapsed) => Err(ServeError::TimedOut { after }),
    };
    if let Err(error) = &result {
        stream.reset(error.code());
        if let ServeError::AnswerTooLong { len, max } = error {
            tracing::error!(protocol = %call.protocol, len, max, "our answer is too long");
        }
    }
    result
}
