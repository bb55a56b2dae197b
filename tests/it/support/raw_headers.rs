//! Sending a header whose name is not UTF-8, which no safe interface does: Kafka's brokers take any bytes.

use super::wait::PATIENCE;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka_sys as sys;
use std::ffi::CString;

/// Sends one record to partition 0 with one header.
pub fn send_with_header(brokers: &str, topic: &str, value: &[u8], name: &[u8], header: &[u8]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = CString::new(topic).unwrap();
    let len = |bytes: &[u8]| isize::try_from(bytes.len()).unwrap();
    let item = |vtype, u| sys::rd_kafka_vu_t { vtype, u };
    // SAFETY: `producer` outlives the calls. Name and value of the header are copied by rd_kafka_header_add, with their
    // lengths; the headers go over to librdkafka when it takes the record. Topic and value live until rd_kafka_produceva
    // returns, which copies them (F_COPY). Each union holds the member that its vtype names.
    unsafe {
        let headers = sys::rd_kafka_headers_new(1);
        sys::rd_kafka_header_add(headers, name.as_ptr().cast(), len(name), header.as_ptr().cast(), len(header));
        let mem =
            sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: value.as_ptr().cast_mut().cast(), size: value.len() };
        let items = [
            item(
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
                sys::rd_kafka_vu_s__bindgen_ty_1 { cstr: topic.as_ptr() },
            ),
            item(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION, sys::rd_kafka_vu_s__bindgen_ty_1 { i32_: 0 }),
            item(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE, sys::rd_kafka_vu_s__bindgen_ty_1 { mem }),
            item(
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::rd_kafka_vu_s__bindgen_ty_1 { i: sys::RD_KAFKA_MSG_F_COPY },
            ),
            item(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS, sys::rd_kafka_vu_s__bindgen_ty_1 { headers }),
        ];
        let error = sys::rd_kafka_produceva(producer.client().native_ptr(), items.as_ptr(), items.len());
        assert!(error.is_null(), "the record was not taken");
    }
    producer.flush(PATIENCE).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}
