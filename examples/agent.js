#!/usr/bin/env node
// A whole agent in JavaScript: it counts the words of texts.
//
//     npm install pg
//     PGHOST=/var/run/postgresql PGDATABASE=postgres AGENT=counter-1 node agent.js
//
// What to connect to is in libpq's variables. Another kind of work is another
// function in place of work().
'use strict';
const { Client } = require('pg');

const agent = process.env.AGENT || `counter-${process.pid}`;
const capability = process.env.CAPABILITY || 'text.count';
const LEASE_LOST = 'NS001', TASK_CANCELLED = 'NS004';

let stopping = false;
const held = new Set();			// the task in hand, if any

// What it returns is the task's result; what it throws, its error.
async function work(payload) {
	const words = payload.text.split(/\s+/).filter(Boolean);
	return { words: words.length, different: new Set(words).size };
}

// Ends the task, unless somebody else has it by now or called it off.
async function settle(db, call, task, token, argument) {
	try {
		await db.query(`SELECT ains.${call}($1, $2, $3)`, [task, token, argument]);
	} catch (e) {
		if (e.code === TASK_CANCELLED)
			await db.query('SELECT ains.release($1, $2)', [task, token]);
		else if (e.code !== LEASE_LOST)
			throw e;
	}
}

// Heartbeats on a connection of their own: work may take longer than a beat.
async function beat(db, incarnation) {
	const { rows: [{ next_heartbeat_in: seconds }] } = await db.query(
		'SELECT next_heartbeat_in FROM ains.heartbeat($1, held => $2::bigint[], incarnation => $3)',
		[agent, [...held], incarnation]);
	setTimeout(() => beat(db, incarnation).catch(die), seconds * 1000).unref();
}

function die(e) {
	console.error(e.message);
	process.exit(1);
}

async function main() {
	const db = new Client(), beats = new Client();
	await Promise.all([db.connect(), beats.connect()]);
	for (const signal of ['SIGTERM', 'SIGINT'])
		process.on(signal, () => { stopping = true; });

	const { rows: [{ incarnation }] } = await db.query(
		'SELECT incarnation FROM ains.register_agent($1, capabilities => $2)', [agent, [capability]]);
	await db.query('SELECT ains.attach_agent($1, $2)', [agent, incarnation]);
	await beat(beats, incarnation);
	while (!stopping) {
		// a short wait: a signal is noticed between two of them
		await db.query("CALL ains.wait_for_task($1, '1 s')", [agent]);
		const { rows } = await db.query(
			'SELECT task_id, lease_token, payload FROM ains.claim($1, incarnation => $2)', [agent, incarnation]);
		for (const { task_id: task, lease_token: token, payload } of rows) {
			held.add(task);
			const [call, argument] = await work(payload).then(
				(result) => ['complete', JSON.stringify(result)], (e) => ['fail', `bad request: ${e.message}`]);
			await settle(db, call, task, token, argument);
			held.clear();
		}
	}
	await db.query('SELECT ains.stop_agent($1)', [agent]);
	await Promise.all([db.end(), beats.end()]);
}

main().catch(die);
