"""Signatures and defaults: those of MindSpore 2.7's documentation, name by name and in its order; and the initial values
of layers in both compatibility versions."""

import inspect
import math

import numpy as np
import pytest

import graphrt
from graphrt import amp, nn
from graphrt.common import initializer

# What follows `dtype=` in MindSpore, and arguments of our own after it, are not part of the table.
TABLE = """
Dense(in_channels, out_channels, weight_init=None, bias_init=None, has_bias=True, activation=None)
Conv1d(in_channels, out_channels, kernel_size, stride=1, pad_mode='same', padding=0, dilation=1, group=1, has_bias=False, weight_init=None, bias_init=None)
Conv2d(in_channels, out_channels, kernel_size, stride=1, pad_mode='same', padding=0, dilation=1, group=1, has_bias=False, weight_init=None, bias_init=None, data_format='NCHW')
Conv2dTranspose(in_channels, out_channels, kernel_size, stride=1, pad_mode='same', padding=0, output_padding=0, dilation=1, group=1, has_bias=False, weight_init=None, bias_init=None)
MaxPool1d(kernel_size=1, stride=1, pad_mode='valid', padding=0, dilation=1, return_indices=False, ceil_mode=False)
MaxPool2d(kernel_size=1, stride=1, pad_mode='valid', padding=0, dilation=1, return_indices=False, ceil_mode=False, data_format='NCHW')
AvgPool1d(kernel_size=1, stride=1, pad_mode='valid', padding=0, ceil_mode=False, count_include_pad=True)
AvgPool2d(kernel_size=1, stride=1, pad_mode='valid', padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, data_format='NCHW')
AdaptiveAvgPool2d(output_size)
AdaptiveMaxPool2d(output_size)
BatchNorm1d(num_features, eps=1e-05, momentum=0.9, affine=True, gamma_init='ones', beta_init='zeros', moving_mean_init='zeros', moving_var_init='ones', use_batch_statistics=None, data_format='NCHW')
BatchNorm2d(num_features, eps=1e-05, momentum=0.9, affine=True, gamma_init='ones', beta_init='zeros', moving_mean_init='zeros', moving_var_init='ones', use_batch_statistics=None, data_format='NCHW')
LayerNorm(normalized_shape, begin_norm_axis=-1, begin_params_axis=-1, gamma_init='ones', beta_init='zeros', epsilon=1e-07)
GroupNorm(num_groups, num_channels, eps=1e-05, affine=True, gamma_init='ones', beta_init='zeros')
InstanceNorm2d(num_features, eps=1e-05, momentum=0.1, affine=True, gamma_init='ones', beta_init='zeros')
Dropout(keep_prob=0.5, p=None)
Dropout1d(p=0.5)
Dropout2d(p=0.5)
Dropout3d(p=0.5)
Flatten(start_dim=1, end_dim=-1)
Unflatten(axis, unflattened_size)
Embedding(vocab_size, embedding_size, use_one_hot=False, embedding_table='normal')
MultiheadAttention(embed_dim, num_heads, dropout=0.0, has_bias=True, add_bias_kv=False, add_zero_attn=False, kdim=None, vdim=None, batch_first=False)
TransformerEncoderLayer(d_model, nhead, dim_feedforward=2048, dropout=0.1, activation='relu', layer_norm_eps=1e-05, batch_first=False, norm_first=False)
TransformerEncoder(encoder_layer, num_layers, norm=None)
LSTM(input_size, hidden_size, num_layers=1, has_bias=True, batch_first=False, dropout=0.0, bidirectional=False)
GRU(input_size, hidden_size, num_layers=1, has_bias=True, batch_first=False, dropout=0.0, bidirectional=False)
LSTMCell(input_size, hidden_size, has_bias=True)
GRUCell(input_size, hidden_size, has_bias=True)
RNNCell(input_size, hidden_size, has_bias=True, nonlinearity='tanh')
Pad(paddings, mode='CONSTANT')
ZeroPad2d(padding)
ConstantPad2d(padding, value)
ReflectionPad2d(padding)
ReplicationPad2d(padding)
Upsample(size=None, scale_factor=None, mode='nearest')
ResizeBilinear(half_pixel_centers=False)
PixelShuffle(upscale_factor)
PixelUnshuffle(downscale_factor)
OneHot(axis=-1, depth=1, on_value=1.0, off_value=0.0)
Norm(axis=(), keep_dims=False)
ReLU()
ReLU6()
Tanh()
Sigmoid()
SiLU()
Mish()
Softsign()
LogSigmoid()
Tanhshrink()
Softmax(axis=-1)
LogSoftmax(axis=-1)
Softmin(axis=-1)
GELU(approximate=True)
LeakyReLU(alpha=0.2)
ELU(alpha=1.0)
CELU(alpha=1.0)
PReLU(channel=1, w=0.25)
HShrink(lambd=0.5)
SoftShrink(lambd=0.5)
Hardtanh(min_val=-1.0, max_val=1.0)
Threshold(threshold, value)
GLU(axis=-1)
MSELoss(reduction='mean')
L1Loss(reduction='mean')
MAELoss(reduction='mean')
RMSELoss()
SmoothL1Loss(beta=1.0, reduction='none')
HuberLoss(reduction='mean', delta=1.0)
BCELoss(weight=None, reduction='mean')
BCEWithLogitsLoss(reduction='mean', weight=None, pos_weight=None)
NLLLoss(weight=None, ignore_index=-100, reduction='mean')
KLDivLoss(reduction='mean')
CrossEntropyLoss(weight=None, ignore_index=-100, reduction='mean', label_smoothing=0.0)
SoftmaxCrossEntropyWithLogits(sparse=False, reduction='none')
CosineEmbeddingLoss(margin=0.0, reduction='mean')
MarginRankingLoss(margin=0.0, reduction='mean')
HingeEmbeddingLoss(margin=1.0, reduction='mean')
SoftMarginLoss(reduction='mean')
TripletMarginLoss(p=2, swap=False, eps=1e-06, reduction='mean', margin=1.0)
DiceLoss(smooth=1e-05)
SGD(params, learning_rate=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, loss_scale=1.0)
Momentum(params, learning_rate, momentum, weight_decay=0.0, loss_scale=1.0, use_nesterov=False)
Adam(params, learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08, use_locking=False, use_nesterov=False, weight_decay=0.0, loss_scale=1.0, use_amsgrad=False)
AdamWeightDecay(params, learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-06, weight_decay=0.0)
RMSProp(params, learning_rate=0.1, decay=0.9, momentum=0.0, epsilon=1e-10, use_locking=False, centered=False, loss_scale=1.0, weight_decay=0.0)
Adagrad(params, accum=0.1, learning_rate=0.001, update_slots=True, loss_scale=1.0, weight_decay=0.0)
Adadelta(params, learning_rate=1.0, rho=0.9, epsilon=1e-06, loss_scale=1.0, weight_decay=0.0)
AdaMax(params, learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08, weight_decay=0.0, loss_scale=1.0)
Lamb(params, learning_rate, beta1=0.9, beta2=0.999, eps=1e-06, weight_decay=0.0)
LARS(optimizer, epsilon=1e-05, coefficient=0.001, use_clip=False)
ASGD(params, learning_rate=0.1, lambd=0.0001, alpha=0.75, t0=1000000.0, weight_decay=0.0)
Rprop(params, learning_rate=0.1, etas=(0.5, 1.2), step_sizes=(1e-06, 50.0), weight_decay=0.0)
FTRL(params, initial_accum=0.1, learning_rate=0.001, lr_power=-0.5, l1=0.0, l2=0.0, use_locking=False, loss_scale=1.0, weight_decay=0.0)
ExponentialDecayLR(learning_rate, decay_rate, decay_steps, is_stair=False)
NaturalExpDecayLR(learning_rate, decay_rate, decay_steps, is_stair=False)
InverseDecayLR(learning_rate, decay_rate, decay_steps, is_stair=False)
CosineDecayLR(min_lr, max_lr, decay_steps)
PolynomialDecayLR(learning_rate, end_learning_rate, decay_steps, power, update_decay_steps=False)
WarmUpLR(learning_rate, warmup_steps)
WithLossCell(backbone, loss_fn)
TrainOneStepCell(network, optimizer, sens=1.0)
TrainOneStepWithLossScaleCell(network, optimizer, scale_sense)
DynamicLossScaleUpdateCell(loss_scale_value, scale_factor, scale_window)
FixedLossScaleUpdateCell(loss_scale_value)
common.initializer.Normal(sigma=0.01, mean=0.0)
common.initializer.TruncatedNormal(sigma=0.01, mean=0.0, a=-2.0, b=2.0)
common.initializer.Uniform(scale=0.07)
common.initializer.HeUniform(negative_slope=0, mode='fan_in', nonlinearity='leaky_relu')
common.initializer.HeNormal(negative_slope=0, mode='fan_in', nonlinearity='leaky_relu')
common.initializer.XavierUniform(gain=1)
common.initializer.XavierNormal(gain=1)
common.initializer.Constant(value)
common.initializer.Orthogonal(gain=1.0)
common.initializer.VarianceScaling(scale=1.0, mode='fan_in', distribution='truncated_normal')
common.initializer.Dirac(groups=1)
common.initializer.Sparse(sparsity, sigma=0.01)
amp.FixedLossScaleManager(loss_scale=128.0, drop_overflow_update=True)
amp.DynamicLossScaleManager(init_loss_scale=16777216, scale_factor=2, scale_window=2000)
amp.DynamicLossScaler(scale_value, scale_factor, scale_window)
amp.StaticLossScaler(scale_value)
amp.auto_mixed_precision(network, amp_level='O0')
amp.build_train_network(network, optimizer, loss_fn=None, level='O0', boost_level='O0')
""".strip().splitlines()


def public(name):
    owner = nn
    for module, place in (("common.initializer.", initializer), ("amp.", amp)):
        if name.startswith(module):
            owner, name = place, name.removeprefix(module)
    return getattr(owner, name)


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line.partition("(")[0])
def test_signature(line):
    name, _, arguments = line.partition("(")
    parameters = inspect.signature(public(name)).parameters.values()
    own = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    wanted = list(inspect.signature(eval(f"lambda {arguments[:-1]}: 0")).parameters.values())
    assert [str(p) for p in own[: len(wanted)]] == [str(p) for p in wanted]
    assert all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in own[len(wanted) :])


LAYERS = {
    "Dense": (lambda: nn.Dense(400, 300), 400),
    "Conv2d": (lambda: nn.Conv2d(16, 120, 5, has_bias=True), 400),
    "Conv1d": (lambda: nn.Conv1d(100, 300, 4, has_bias=True), 400),
    "Conv2dTranspose": (lambda: nn.Conv2dTranspose(120, 16, 5, has_bias=True), 400),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_initial_values(layer):
    make, fan_in = LAYERS[layer]
    bound = 1 / math.sqrt(fan_in)
    net = make()
    for p in (net.weight, net.bias):
        values = p.asnumpy()
        assert np.abs(values).max() <= bound and values.min() < -0.5 * bound and values.max() > 0.5 * bound
    assert net.weight.asnumpy().std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    with graphrt.set_compat("1.1"):
        old = make()
    assert old.weight.asnumpy().std() == pytest.approx(0.01, rel=0.02) and not old.bias.asnumpy().any()


def test_initial_values_of_other_layers():
    assert nn.Embedding(300, 200).embedding_table.asnumpy().std() == pytest.approx(0.01, rel=0.02)
    hidden = 1 / math.sqrt(50)
    for p in nn.LSTM(20, 50).get_parameters():
        assert np.abs(p.asnumpy()).max(initial=0) <= hidden
    attention = nn.MultiheadAttention(64, 4)
    assert np.abs(attention.in_proj_weight.asnumpy()).max() == pytest.approx(math.sqrt(6 / 256), rel=0.01)
    assert not attention.in_proj_bias.asnumpy().any() and not attention.out_proj.bias.asnumpy().any()
    for norm in (nn.BatchNorm2d(3), nn.GroupNorm(1, 3), nn.LayerNorm(3)):
        assert norm.gamma.tolist() == [1, 1, 1] and norm.beta.tolist() == [0, 0, 0]
