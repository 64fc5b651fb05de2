# Draws what bench/run left in the current directory; what is not there is left out.
set terminal svg size 720,400 font 'sans-serif,13' background '#ffffff'
set encoding utf8
set key outside bottom center horizontal
set grid ytics lc rgb '#dddddd'
set border 3 lc rgb '#666666'
set tics nomirror
set style line 1 lc rgb '#1b6ca8' lw 2
set style line 2 lc rgb '#1b6ca8' lw 1 dt 2
set style line 3 lc rgb '#c0392b' lw 2
set style line 4 lc rgb '#c0392b' lw 1 dt 2
there(f) = int(system('test -s '.f.' && echo 1 || echo 0'))

if (there('pinned-cycle-ains-pinned.tsv')) {
	set output 'pinned.svg'
	set title 'enqueue + claim + complete under a pinned xmin horizon'
	set xlabel 'seconds since the transaction began that pins it'
	set ylabel 'per second'
	set yrange [0:*]
	plot 'pinned-cycle-ains-pinned.tsv' using 1:2 with lines ls 1 title 'ains, pinned', \
		'pinned-cycle-ains-free.tsv' using 1:2 with lines ls 2 title 'ains, free', \
		'pinned-cycle-skip-pinned.tsv' using 1:2 with lines ls 3 title 'SKIP LOCKED, pinned', \
		'pinned-cycle-skip-free.tsv' using 1:2 with lines ls 4 title 'SKIP LOCKED, free'
}
if (there('backlog.tsv')) {
	set output 'backlog.svg'
	set title 'enqueue + claim + complete against the backlog'
	set xlabel 'tasks that wait'
	set ylabel 'per second'
	set logscale x
	set format x '10^{%L}'
	set yrange [0:*]
	plot 'backlog.tsv' using 1:2 smooth unique with linespoints ls 1 pt 7 title 'ains'
	unset logscale x
	set format x '%g'
}
if (there('clients.tsv')) {
	set output 'clients.svg'
	set title 'enqueue + claim + complete against the number of clients'
	set xlabel 'clients'
	set ylabel 'per second'
	set logscale x 2
	set yrange [0:*]
	plot 'clients.tsv' using 1:2 with linespoints ls 1 pt 7 title 'ains'
	unset logscale x
}
