"""All public names, for `from minibatch_mlp.all import *` in a notebook."""

from minibatch_mlp.backprop import Node, by_hand
from minibatch_mlp.batch_size import NoiseScale, Playground, bs_find, gradient_noise
from minibatch_mlp.callbacks import (
    Accumulate, ClipGradients, EarlyStopping, LearningRateMonitor, LRFinder, PlotHistory, ShiftImages, TensorBoard, ToDevice,
    TrainMetrics, lr_find, plot_history, save_history, shift_images, summary,
)
from minibatch_mlp.checkpoint import Checkpoint, load, read_checkpoint, resume, save
from minibatch_mlp.cli import mlp_predict, mlp_train, save_mlp
from minibatch_mlp.data import MNIST, ArrayUnpickler, Split, load_mnist, read_idx, show_image, show_images
from minibatch_mlp.dataloader import (
    BatchSampler, DataLoader, Dataset, MapDataset, RandomSampler, SequentialSampler, collate,
)
from minibatch_mlp.distributed import Distributed, DistributedBatchSampler, init_distributed
from minibatch_mlp.draw import DrawDigit, load_mlp, mnist_form, otsu_threshold, picture_ink, stroke_ink
from minibatch_mlp.learner import (
    Callback, DataLoaders, KeepFinite, Learner, Progress, Schedule, SkipBatch, SkipEpoch, SkipStep, StopFit,
)
from minibatch_mlp.loss import cross_entropy, log_softmax, logsumexp, nll
from minibatch_mlp.module import MLP, Linear, Module, ReLU, Sequential
from minibatch_mlp.optim import (
    SGD, AdamW, Optimizer, clip_grad_norm_, constant_lr, cosine_lr, exponential_lr, linear_lr, one_cycle_lr, step_lr, warmup_lr,
)
from minibatch_mlp.training import GoodWeights, accuracy, by_autograd, fit, report, train_epoch
