-- Removes Layshaft's outbox, with its triggers and the tasks that have not been queued.
DROP SCHEMA IF EXISTS layshaft CASCADE;
DROP FUNCTION IF EXISTS {schema}.layshaft_enqueue(text, bytea, text, text, interval, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_enqueue(text, text, text, text, interval, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_enqueue(text, jsonb, text, text, interval, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_do_background(text, text, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_do_high_background(text, text, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_do_low_background(text, text, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_do(text, text, text);
