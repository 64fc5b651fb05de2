/* Asks for the middle of the page again and puts it in place of ours. The reader's
 * filter and order of rows are kept. All text is made by the server. */
'use strict';
const order = {};
const filter = document.getElementById('filter');

function value(row, column) {
	const cell = row.cells[column];
	return cell.dataset.n === undefined ? cell.textContent : Number(cell.dataset.n);
}

function arrange() {
	const wanted = filter.value.toLowerCase();
	for (const table of document.querySelectorAll('table')) {
		const body = table.tBodies[0], by = order[table.id];
		if (by) {
			const rows = [...body.rows].sort((a, b) => {
				const x = value(a, by.column), y = value(b, by.column);
				if (typeof x !== typeof y) return typeof x === 'string' ? 1 : -1;
				return by.sign * (x < y ? -1 : x > y ? 1 : 0);
			});
			body.append(...rows);
		}
		for (const row of body.rows)
			row.hidden = !row.textContent.toLowerCase().includes(wanted);
	}
}

function complain(text) {
	const notice = document.getElementById('notice');
	notice.textContent = text;
	notice.hidden = false;
}

async function refresh() {
	try {
		const answer = await fetch('/live', {cache: 'no-store'});
		if (!answer.ok) throw new Error('answer ' + answer.status);
		const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
		document.getElementById('live').replaceWith(document.adoptNode(page.getElementById('live')));
		arrange();
	} catch (error) {
		complain('ains-top does not answer: ' + error.message);
	}
	setTimeout(refresh, Number(document.body.dataset.interval));
}

filter.hidden = false;
filter.addEventListener('input', arrange);
document.addEventListener('click', event => {
	const button = event.target.closest('th button');
	if (!button) return;
	const table = button.closest('table'), column = button.parentElement.cellIndex, by = order[table.id];
	order[table.id] = {column, sign: by && by.column === column ? -by.sign : 1};
	arrange();
});
setTimeout(refresh, Number(document.body.dataset.interval));
