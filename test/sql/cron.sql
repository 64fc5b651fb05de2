\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Cron texts: when they are due, and which are none. (The tap suite compares
-- many more with another implementation.)
--
SET timezone = 'UTC';
-- from one time to the next
CREATE FUNCTION t.runs(cron text, after timestamptz, timezone text DEFAULT 'UTC', times integer DEFAULT 3) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    runs text[];
BEGIN
    FOR i IN 1 .. times LOOP
        after := ains_internal.next_run(cron, timezone, after);
        runs := runs || to_char(after, 'Dy YYYY-MM-DD HH24:MI');
    END LOOP;
    RETURN array_to_string(runs, ', ', 'never');
END
$$;
SELECT cron, t.runs(cron, '2025-02-27 12:34:56.789') FROM unnest(ARRAY[
    '* * * * *', '0 * * * *', '0 9 * * *', '0 9 * * 1-5', '0 0 1 * *', '*/15 * * * *', '0 */6 * * *', '0 0 * * 0',
    '0 0 * * 7', '0 0 * * sun', '0 0 * * SAT,Sun', '30 4 1 JAN *', '0 0 $ * *', '0 0 15,$ feb *', '0 0 29 2 *',
    '5,10,15 3 * * *', '0-10/5,59 0 * * *', '10-10 10 10 10 *', '  0   12	*  *  *  ', '0 0 * * 5-7', '0 22 * * mon-fri',
    '@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually', ' @DAILY ']) WITH ORDINALITY AS c (cron, n) ORDER BY n;
-- day and weekday: both, if one begins with a star; otherwise either
SELECT cron, t.runs(cron, '2025-06-01', times => 4) FROM unnest(ARRAY[
    '0 0 13 * 5', '0 0 */2 * 1', '0 0 13 * *', '0 0 * * 5', '0 0 13 * */2', '0 0 $ * 1', '0 0 31 * 3', '0 0 29 2 */7']) WITH ORDINALITY AS c (cron, n) ORDER BY n;
-- a time is not after itself; before 2000 counts, too
SELECT t.runs('0 12 * * *', '2025-01-01 12:00', times => 1), t.runs('0 12 * * *', '2025-01-01 11:59:59.999999', times => 1),
       t.runs('* * * * *', '1999-12-31 23:57:30', times => 2), t.runs('0 0 29 2 *', '2096-02-29', times => 1);
-- never
SELECT cron, t.runs(cron, '2025-01-01', times => 1) FROM unnest(ARRAY['0 0 30 2 *', '0 0 31 4,6,9,11 *']) AS cron;
-- zones: a time that the change of the clock skips is not due, one that it repeats is twice
SELECT t.runs('30 2 * * *', '2025-03-29', 'Europe/Berlin');
SELECT t.runs('30 2 * * *', '2025-10-25', 'Europe/Berlin', 4);
SELECT t.runs('0 0 * * *', '2025-03-28 12:00', 'Europe/Berlin', 4), t.runs('0 9 * * mon', '2025-06-01', 'America/New_York', 2);
SELECT t.runs('0 0 * * *', '2025-10-04', 'Australia/Lord_Howe'), t.runs('15 6 * * *', '2025-01-01', 'Asia/Kathmandu', 1);
SET timezone = 'Asia/Tokyo';
SELECT ains_internal.next_run('0 0 * * *', 'UTC', '2025-01-01 12:00+00') AT TIME ZONE 'UTC' AS whatever_the_session;
RESET timezone;
-- none of these is a cron text
SELECT ains.run_schedules();
CREATE FUNCTION t.wrong(cron text, timezone text DEFAULT 'UTC') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    why text;
BEGIN
    PERFORM ains_internal.next_run(cron, timezone, '2025-01-01');
    RETURN 'fine';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ': ' || left(why, 100);
END
$$;
SELECT t.wrong(cron) FROM unnest(ARRAY['', ' ', 'invalid', '60 * * * *', '* 24 * * *', '* 25 * * *', '* * 32 * *', '* * 0 * *', '* * * 13 *', '* * * 0 *', '* * * * 8',
    '* * * *', '* * * * * *', '-1 * * * *', '5- * * * *', '5-1 * * * *', '*/0 * * * *', '*/ * * * *', '*/x * * * *', '5/10 * * * *', '1, * * * *', ',1 * * * *',
    '1,,2 * * * *', '1x * * * *', '**  * * * *', '1000 * * * *', '99999999999999999999 * * * *', '* * * foo *', '* * * january *', '* * * * monday', '$ * * * *',
    '* * $-3 * *', '* * $/2 * *', '* * * mon *', '@reboot', '@daily 1', '@', '5 seconds', '? * * * *', '* * L * *', E'*\n* * * *', '0 0 * * fri-mon']) WITH ORDINALITY AS c (cron, n) ORDER BY n;
CALL t.refused($$SELECT ains_internal.next_run('* * * * *', 'Mars/Olympus', now())$$);
CALL t.refused($$SELECT ains_internal.next_run('* * * * *', '', now())$$);
SELECT t.wrong('* * * * *', repeat('x', 1000)), t.wrong(repeat('x', 1000)), t.wrong(repeat(',', 1000) || ' * * * *');
CALL t.refused($$SELECT ains_internal.next_run('* * * * *', 'UTC', 'infinity')$$);
SELECT ains_internal.next_run(NULL, 'UTC', now()) IS NULL AS of_nothing, ains_internal.next_run('* * * * *', 'UTC', '294276-12-31 23:59:30+00') IS NULL AS the_end;
-- how many are late: a minute or more, from that one on
SELECT ains_internal.missed_runs('* * * * *', 'UTC', date_trunc('minute', t.now()) - interval '10 min') IN (10, 11) AS ten,
       ains_internal.missed_runs('* * * * *', 'UTC', t.now() - interval '10 s') AS none, ains_internal.missed_runs('* * * * *', 'UTC', '2010-01-01') AS too_many,
       ains_internal.missed_runs('0 0 29 2 *', 'UTC', '2000-02-29') >= 6 AS leap_days;
