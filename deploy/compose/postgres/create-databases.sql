-- Run once by the image of PostgreSQL, on an empty data directory: a role and a database for each service that owns one.
\set ON_ERROR_STOP on

\getenv password CONTROLLER_DATABASE_PASSWORD
CREATE ROLE controller LOGIN PASSWORD :'password';
CREATE DATABASE controller OWNER controller;

\getenv password PASSPORT_DATABASE_PASSWORD
CREATE ROLE passport LOGIN PASSWORD :'password';
CREATE DATABASE passport OWNER passport;

\getenv password BUILDER_DATABASE_PASSWORD
CREATE ROLE builder LOGIN PASSWORD :'password';
CREATE DATABASE builder OWNER builder;

\getenv password HOOKS_DATABASE_PASSWORD
CREATE ROLE hooks LOGIN PASSWORD :'password';
CREATE DATABASE hooks OWNER hooks;

REVOKE CONNECT ON DATABASE controller, passport, builder, hooks FROM PUBLIC;
