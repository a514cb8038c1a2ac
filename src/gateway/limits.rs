//! Limits on resources, enforced call by call and answer by answer.
//!
//! Templates say, as data, which objects a call names, carries and gives, and which of their fields a limit
//! compares; everything here is generic over that. All limits in force apply. What the template does not say,
//! what cannot be read and what cannot be looked up is refused.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`judge`] | the request: what it names and carries, what is changed in it; a plan, without dialling |
//! | [`facts`] | the fields of one object, and whether it lies inside a bound |
//! | [`names`], [`places`], [`query`], [`json`] | reading requests and documents in one way only |
//! | [`reshape`], [`filter`], [`moments`] | windows, filters and members that are asked for |
//! | [`words`] | what a denial says |

#![allow(dead_code, reason = "look-ups and the tests of answers land next")]

mod facts;
mod filter;
mod json;
pub mod judge;
mod moments;
mod names;
mod places;
mod query;
mod reshape;
mod words;
