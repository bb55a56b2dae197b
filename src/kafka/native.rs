//! The few calls of librdkafka that rdkafka does not offer: topic ids, generations of a group, members of a group of either
//! protocol, and headers as bytes.
//!
//! With `fetched.rs` all of drover's dealings with librdkafka itself; each unsafe block says why it is sound. Owns nothing
//! beyond a call.

use super::error::{KafkaError, KafkaErrorKind, KafkaResult};
use crate::domain::record::HeaderVisitor;
use rdkafka::client::{Client, ClientContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::time::Duration;

/// Calls `visit` with name and value of each header of a message. rdkafka's own reader panics on a name that is not UTF-8.
///
/// # Safety
/// The message lives for `'r`, and nobody else looks at its headers meanwhile: the first look parses them.
pub unsafe fn for_each_header<'r>(message: *const sys::rd_kafka_message_t, visit: &mut HeaderVisitor<'r, '_>) {
    let mut headers = ptr::null_mut();
    // SAFETY: the message is alive for this call; librdkafka writes a pointer to headers that the message owns.
    let found = unsafe { sys::rd_kafka_message_headers(message, &raw mut headers) };
    if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
        return;
    }
    for index in 0.. {
        let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `headers` belongs to the living message; the out-pointers are valid for writes.
        let found =
            unsafe { sys::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size) };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        // SAFETY: librdkafka ends names with NUL, and they live as long as the message.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // SAFETY: a value that is not null has `size` bytes that live as long as the message.
        let value = (!value.is_null()).then(|| unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) });
        visit(name, value);
    }
}

/// Whether the client has an id in its group; it loses it when it leaves.
pub fn is_member<C: ClientContext>(client: &Client<C>) -> bool {
    // SAFETY: the client lives for the whole call.
    let id = unsafe { sys::rd_kafka_memberid(client.native_ptr()) };
    if id.is_null() {
        return false;
    }
    // SAFETY: librdkafka gives back a text of ours that ends in NUL.
    let is_empty = unsafe { CStr::from_ptr(id) }.is_empty();
    // SAFETY: the text was allocated by librdkafka for us and is not used any more.
    unsafe { sys::rd_kafka_mem_free(client.native_ptr(), id.cast()) };
    !is_empty
}

/// Commits offsets without waiting; the answer comes to whoever polls the consumer, as `commit_callback` of its context.
/// rdkafka's own asynchronous commit loses the answer: librdkafka sends it only to a callback that rdkafka does not set.
///
/// # Errors
/// librdkafka refuses to send it.
pub fn commit<C: ClientContext>(client: &Client<C>, offsets: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
    // SAFETY: client and list live for the whole call, which copies the list; the queue is ours, librdkafka takes a
    // reference of its own to it, and without a callback the opaque is never read.
    let code = unsafe {
        let queue = Owned(sys::rd_kafka_queue_get_consumer(client.native_ptr()), |p| {
            if !p.is_null() {
                sys::rd_kafka_queue_destroy(p);
            }
        });
        sys::rd_kafka_commit_queue(client.native_ptr(), offsets.ptr(), queue.0, None, ptr::null_mut())
    };
    match code {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        refused => Err(refused.into()),
    }
}

/// The generation of the group that the client is a member of, or its epoch in the consumer protocol; `None` for no
/// member. Waits for librdkafka's own thread.
pub fn generation<C: ClientContext>(client: &Client<C>) -> Option<i32> {
    // SAFETY: the client lives for the whole call; the metadata is ours, read once and destroyed by the guard.
    let generation = unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(client.native_ptr());
        if metadata.is_null() {
            return None;
        }
        let metadata = Owned(metadata, |p| sys::rd_kafka_consumer_group_metadata_destroy(p));
        sys::rd_kafka_consumer_group_metadata_generation_id(metadata.0)
    };
    // Without a place there is -1, and 0 for a member that is about to leave or to join.
    (generation > 0).then_some(generation)
}

/// Whether a broker answers within `timeout` and names at least one broker. Blocks up to `timeout`.
pub fn has_brokers<C: ClientContext>(client: &Client<C>, timeout: Duration) -> bool {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut metadata = ptr::null();
    // SAFETY: the client lives for the whole call; the out-pointer is valid for writes. No topic is asked for but those
    // that the client knows.
    let answered =
        unsafe { sys::rd_kafka_metadata(client.native_ptr(), 0, ptr::null_mut(), &raw mut metadata, timeout_ms) };
    if answered != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || metadata.is_null() {
        return false;
    }
    // SAFETY: librdkafka has written a pointer to metadata that is ours until it is destroyed, which happens once, here.
    unsafe {
        let brokers = (*metadata).broker_cnt;
        sys::rd_kafka_metadata_destroy(metadata);
        brokers > 0
    }
}

/// Makes the client fail for good, by librdkafka's own means for tests.
#[cfg(test)]
pub fn fail_for_good<C: ClientContext>(client: &Client<C>) {
    let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    // SAFETY: the client lives for the whole call, and librdkafka copies the text.
    unsafe { sys::rd_kafka_test_fatal_error(client.native_ptr(), code, c"made by a test".as_ptr()) };
}

/// Tells the client of brokers, `host:port` with commas between, as at its start. Those that it knows already count once.
pub fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &str) {
    // A configured list holds no NUL character: the client was made with it.
    let Ok(brokers) = CString::new(brokers) else { return };
    // SAFETY: the client lives for the whole call, and librdkafka copies the text.
    unsafe { sys::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
}

/// What tells a topic from another one of its name, and whether this principal may read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicIdentity {
    /// Kafka's id; `None` where the broker is too old to have ids (before 2.8).
    pub id: Option<String>,
    /// The broker says that this principal may not read it.
    pub read_denied: bool,
}

/// The identity of a topic. Blocks up to `timeout`.
///
/// # Errors
/// The topic does not exist, or no broker answers.
pub fn topic_identity<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<TopicIdentity> {
    let doing = || format!("reading the id of topic \"{topic}\"");
    let name = CString::new(topic)
        .map_err(|_| KafkaError::new(KafkaErrorKind::Invalid, doing(), "the name holds a NUL character"))?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: `rk` lives as long as `client`, which is borrowed for the whole call. Everything made here is destroyed by
    // the guards below, in reverse order, after its last use; the collection copies the name.
    unsafe {
        let topics = Owned(sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1), |p| {
            sys::rd_kafka_TopicCollection_destroy(p);
        });
        let options = Owned(
            sys::rd_kafka_AdminOptions_new(rk, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            |p| sys::rd_kafka_AdminOptions_destroy(p),
        );
        let mut why = [0 as c_char; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, why.as_mut_ptr(), why.len());
        let refused = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
        if !refused.is_null() {
            // An old broker says nothing of rights.
            sys::rd_kafka_error_destroy(refused);
        }
        let queue = Owned(sys::rd_kafka_queue_new(rk), |p| sys::rd_kafka_queue_destroy(p));
        sys::rd_kafka_DescribeTopics(rk, topics.0, options.0, queue.0);
        let event = Owned(sys::rd_kafka_queue_poll(queue.0, timeout_ms), |p| {
            if !p.is_null() {
                sys::rd_kafka_event_destroy(p);
            }
        });
        if event.0.is_null() {
            return Err(KafkaError::new(KafkaErrorKind::Unreachable, doing(), format!("no answer within {timeout:?}")));
        }
        let code = sys::rd_kafka_event_error(event.0);
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::from_code(doing(), code.into()));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        let mut count = 0;
        let descriptions = if result.is_null() {
            ptr::null_mut()
        } else {
            sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count)
        };
        if descriptions.is_null() || count != 1 {
            return Err(KafkaError::new(KafkaErrorKind::Other, doing(), "the answer describes no topic"));
        }
        let description = *descriptions;
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(KafkaError::from_code(doing(), code.into()));
            }
        }
        let mut count = 0;
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(description, &raw mut count);
        // None at all is no answer.
        let read_denied = !operations.is_null()
            && count > 0
            && !std::slice::from_raw_parts(operations, count)
                .contains(&sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ);
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null()
            || (sys::rd_kafka_Uuid_most_significant_bits(id) == 0 && sys::rd_kafka_Uuid_least_significant_bits(id) == 0)
        {
            return Ok(TopicIdentity { id: None, read_denied });
        }
        let text = sys::rd_kafka_Uuid_base64str(id);
        let id = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
        Ok(TopicIdentity { id, read_denied })
    }
}

/// A member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// What it calls itself.
    pub client_id: String,
    /// Its static id, if it has one.
    pub instance_id: Option<String>,
    /// The address from which it speaks.
    pub host: String,
}

/// The members of a group, in the classic protocol or that of KIP-848; none where there is no such group. Blocks up to
/// `timeout`.
///
/// # Errors
/// No broker answers, or the group may not be described.
pub fn group_members<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> KafkaResult<Vec<GroupMember>> {
    let doing = || format!("reading the members of group \"{group}\"");
    let name = CString::new(group)
        .map_err(|_| KafkaError::new(KafkaErrorKind::Invalid, doing(), "the name holds a NUL character"))?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: as in `topic_id`: `rk` outlives the call, the guards destroy what is made here after its last use, the names
    // are copied by the call, and what the event holds is read before the event is destroyed.
    unsafe {
        let options = Owned(
            sys::rd_kafka_AdminOptions_new(rk, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS),
            |p| sys::rd_kafka_AdminOptions_destroy(p),
        );
        let mut why = [0 as c_char; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, why.as_mut_ptr(), why.len());
        let queue = Owned(sys::rd_kafka_queue_new(rk), |p| sys::rd_kafka_queue_destroy(p));
        sys::rd_kafka_DescribeConsumerGroups(rk, names.as_mut_ptr(), names.len(), options.0, queue.0);
        let event = Owned(sys::rd_kafka_queue_poll(queue.0, timeout_ms), |p| {
            if !p.is_null() {
                sys::rd_kafka_event_destroy(p);
            }
        });
        if event.0.is_null() {
            return Err(KafkaError::new(KafkaErrorKind::Unreachable, doing(), format!("no answer within {timeout:?}")));
        }
        let code = sys::rd_kafka_event_error(event.0);
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::from_code(doing(), code.into()));
        }
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.0);
        let mut count = 0;
        let groups = if result.is_null() {
            ptr::null_mut()
        } else {
            sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count)
        };
        if groups.is_null() || count != 1 {
            return Err(KafkaError::new(KafkaErrorKind::Other, doing(), "the answer describes no group"));
        }
        let described = *groups;
        let error = sys::rd_kafka_ConsumerGroupDescription_error(described);
        if !error.is_null() {
            match sys::rd_kafka_error_code(error) {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND => return Ok(Vec::new()),
                code => return Err(KafkaError::from_code(doing(), code.into())),
            }
        }
        let members = sys::rd_kafka_ConsumerGroupDescription_member_count(described);
        Ok((0..members)
            .map(|index| {
                let member = sys::rd_kafka_ConsumerGroupDescription_member(described, index);
                GroupMember {
                    client_id: owned_text(sys::rd_kafka_MemberDescription_client_id(member)).unwrap_or_default(),
                    instance_id: owned_text(sys::rd_kafka_MemberDescription_group_instance_id(member)),
                    host: owned_text(sys::rd_kafka_MemberDescription_host(member)).unwrap_or_default(),
                }
            })
            .collect())
    }
}

/// A copy of a text of librdkafka; `None` for null and for nothing.
///
/// # Safety
/// `text` is null or ends in NUL and lives for the call.
unsafe fn owned_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by the contract of this function.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}

/// A pointer of librdkafka that is destroyed at the end of its scope.
struct Owned<T>(*mut T, unsafe fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made by the matching constructor where it is owned, destroyed once, here.
        unsafe { (self.1)(self.0) }
    }
}
