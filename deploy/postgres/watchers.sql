-- The two roles that only look, after provision.sql, by a superuser; run again at any time:
--
--   REPORTING_READER_PASSWORD=… POSTGRES_EXPORTER_PASSWORD=… psql -X -d postgres -f watchers.sql
--
-- `reporting_reader` is Grafana's: it reads the schema `boards` of reporting. `postgres_exporter` reads the server's statistics.

\set ON_ERROR_STOP on
\getenv reader_password REPORTING_READER_PASSWORD
\getenv exporter_password POSTGRES_EXPORTER_PASSWORD

SET client_min_messages = warning;
SET log_min_error_statement = panic; -- a statement that fails must not carry a password into the server's log
SELECT pg_advisory_lock(hashtext('fanzha provisioning')) \g /dev/null

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY['reporting_reader', 'postgres_exporter']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE reporting_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'reader_password';
ALTER ROLE reporting_reader SET default_transaction_read_only = on;
ALTER ROLE reporting_reader SET statement_timeout = '30s'; -- a board must not hold up the totals
ALTER ROLE reporting_reader SET lock_timeout = '10s';
ALTER ROLE reporting_reader SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE reporting_reader SET transaction_timeout = '60s';
ALTER ROLE postgres_exporter LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT PASSWORD :'exporter_password';
ALTER ROLE postgres_exporter SET statement_timeout = '30s'; -- a scrape is given up after 10 s
ALTER ROLE postgres_exporter SET lock_timeout = '10s';
ALTER ROLE postgres_exporter SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE postgres_exporter SET transaction_timeout = '60s';
GRANT pg_monitor TO postgres_exporter;
GRANT CONNECT ON DATABASE postgres TO postgres_exporter;
GRANT CONNECT ON DATABASE fanzha_reporting TO reporting_reader;

\connect fanzha_reporting
SET client_min_messages = warning;
-- Views without a person in them, made by reporting's migrations.
CREATE SCHEMA IF NOT EXISTS boards AUTHORIZATION reporting_owner;
GRANT USAGE ON SCHEMA boards TO reporting_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA boards TO reporting_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE reporting_owner IN SCHEMA boards GRANT SELECT ON TABLES TO reporting_reader;
