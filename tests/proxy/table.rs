//! Both tables of odd messages through the whole proxy.
