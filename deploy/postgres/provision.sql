-- Gives one service its database and its two roles; run again at any time, by a superuser, with psql 15 or newer:
--
--   OWNER_PASSWORD=… APP_PASSWORD=… psql -X -d postgres -v service=checkin -f provision.sql
--
-- `<service>_owner` owns the database and runs migrations. `<service>_app` reads and writes rows, and creates nothing.
-- Nobody else gets in: PUBLIC may not even connect. `-v database=NAME` names another database than `fanzha_<service>`.

\set ON_ERROR_STOP on
\if :{?database}
\else
  \set database fanzha_ :service
\endif
\set owner :service _owner
\set app :service _app
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD

SET client_min_messages = warning;
SET log_min_error_statement = panic; -- a statement that fails must not carry a password into the server's log
SELECT pg_advisory_lock(hashtext('fanzha provisioning')) \g /dev/null

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY[:'owner', :'app']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'owner_password';
ALTER ROLE :"app" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'app_password';

-- For every client of the role that sets none of its own (shared/database/transactions.py sets shorter ones). A client that stands still, or was cut
-- off without a word, must not keep its locks; and no statement of a service takes longer than a page of a definition (1 s).
ALTER ROLE :"app" SET statement_timeout = '60s';
ALTER ROLE :"app" SET lock_timeout = '30s';
ALTER ROLE :"app" SET idle_in_transaction_session_timeout = '60s'; -- a call of a text channel takes up to 30 s
ALTER ROLE :"app" SET transaction_timeout = '5min';
-- The owner's jobs set their own (upkeep/dump.py, shared/database/migrate.py); this is for a person at psql.
ALTER ROLE :"owner" SET lock_timeout = '60s';
ALTER ROLE :"owner" SET idle_in_transaction_session_timeout = '10min';

SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE postgres, template1, :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"app";

\connect :"database"
SET client_min_messages = warning;

ALTER SCHEMA public OWNER TO :"owner";
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO :"app";
