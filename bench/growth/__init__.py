"""What it costs when the work grows: more waiting jobs, more queues, larger payloads, more clients.

Run `python -m bench.growth`. Each axis has its points alive at the same time, each with a real,
durable broker, and they are measured in turn, round after round: what is compared ran in the same
minutes. Figures are medians of the rounds; of the aims, medians of each round's own ratio.

    __main__   the command line
    points     the axes and how much work each point does
    axis       brokers and rounds;  load  the client process
    aims       what should not grow;  charting  the charts
"""
