"""Records single steps of Gymnasium's classic control tasks: python3 record.py FOLDER.

Needs the package gymnasium (see README.md). Every row is one step from a given state, so a reader
can set the state and compare the step alone.
"""

import csv
import random
import sys

import gymnasium
import numpy

# our order of the variables is positions, then velocities; Gymnasium's of CartPole is x, x', t, t'
TASKS = {
    "acrobot": ("Acrobot-v1", [0, 1, 2, 3]),
    "cartpole": ("CartPole-v1", [0, 2, 1, 3]),
    "mountain_car": ("MountainCar-v0", [0, 1]),
}

# around the ends of the tasks and the limits of their variables, in Gymnasium's order
EDGES = {
    "acrobot": [
        [3.1, 0.05, 3.0, 2.0], [3.14, -3.14, 12.5, 28.0], [-3.1, 3.0, -12.6, -28.2],
        [2.0, 0.1, 1.0, 0.0], [2.2, -0.3, 3.0, -1.0], [1.6, 0.0, 2.0, 1.0],
    ],
    "cartpole": [
        [2.39, 0.6, 0.0, 0.0], [2.41, -0.6, 0.0, 0.0], [-2.39, -0.6, 0.1, 0.0],
        [0.0, 0.0, 0.2090, 0.03], [0.0, 0.0, 0.2090, 0.01], [0.0, 0.0, -0.2090, -0.03],
        [1.0, -2.0, 0.15, 3.0],
    ],
    "mountain_car": [
        [-1.19, -0.05], [-1.2, 0.0], [0.45, 0.06], [0.49, 0.0105], [0.49, 0.0085], [0.55, -0.0699],
        [-0.5, 0.0699], [-0.9, -0.07], [0.5, 0.0005],
    ],
}


def record(folder, task):
    name, order = TASKS[task]
    env = gymnasium.make(name).unwrapped
    actions = random.Random(1)
    starts = [(numpy.array(edge), action) for edge in EDGES[task]
              for action in range(env.action_space.n)]
    with open(f"{folder}/{task}.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")

        def step(before, action):
            env.state = before
            env.steps_beyond_terminated = None
            observation, reward, over, _, _ = env.step(action)
            after = numpy.array(env.state, dtype=numpy.float64)
            out.writerow([repr(float(before[i])) for i in order] + [action] +
                         [repr(float(after[i])) for i in order] + [reward, int(over)] +
                         ["%.9g" % value for value in observation])
            return after, over

        for start, action in starts:
            step(start, action)
        for episode in range(3):
            env.reset(seed=episode)
            state = numpy.array(env.state, dtype=numpy.float64)
            for _ in range(25):
                state, over = step(state, actions.randrange(env.action_space.n))
                if over:
                    break


for task in TASKS:
    record(sys.argv[1], task)
