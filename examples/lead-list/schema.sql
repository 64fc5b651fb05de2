-- What the agents of the lead list find. Each thing that must not be there
-- twice has a key, so that to insert it again does nothing.
--
--	psql -f schema.sql		as the role that runs lead_list.py; again and again, if you like

CREATE SCHEMA IF NOT EXISTS leads;

CREATE TABLE IF NOT EXISTS leads.company (
    run_id bigint NOT NULL,
    site text COLLATE "C" NOT NULL,
    package text NOT NULL,          -- where research begins
    summary text NOT NULL,
    name text,                      -- this and the licence are what research finds
    licence text,
    PRIMARY KEY (run_id, site)
);

CREATE TABLE IF NOT EXISTS leads.contact (
    run_id bigint NOT NULL,
    email text NOT NULL,
    site text COLLATE "C" NOT NULL,
    PRIMARY KEY (run_id, email),    -- of two companies with the same address one has it
    FOREIGN KEY (run_id, site) REFERENCES leads.company
);

-- A company with at least one contact.
CREATE OR REPLACE VIEW leads.lead AS
    SELECT run_id, site, name, licence, summary, count(*) AS contacts, string_agg(email, ' ' ORDER BY email) AS emails
      FROM leads.company JOIN leads.contact USING (run_id, site)
     GROUP BY run_id, site;
