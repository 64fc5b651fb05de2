-- The last word: at commit the launcher starts a sweeper here. If this is
-- rolled back, nothing happens.
SELECT ains_internal.extension_created();
