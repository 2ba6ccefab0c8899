"""The aten operations that a classifier may need. Literal data.

None of them reads or writes a file, opens a connection, starts a process or unpickles; none touches the settings of
torch, the storage of another tensor, or a generator other than through a draw. A file that calls anything else is
refused. Some of these do not look at the sizes of their operands and are called through `checked`; others of that kind,
which no network exported for inference on a CPU needs, are left out.
"""

from __future__ import annotations

_LAYERS = """
    _convolution _convolution_mode conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d
    convolution linear bilinear embedding lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
    _batch_norm_impl_index _native_batch_norm_legit
    _native_batch_norm_legit_no_training batch_norm group_norm instance_norm layer_norm
    native_batch_norm native_group_norm native_layer_norm rms_norm _fused_rms_norm _weight_norm _weight_norm_interface
    norm_except_dim
    scaled_dot_product_attention _scaled_dot_product_attention_math
    _scaled_dot_product_flash_attention_for_cpu
    _transformer_encoder_layer_fwd _native_multi_head_attention
    alpha_dropout dropout feature_alpha_dropout feature_dropout native_dropout
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d
    max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
    max_unpool2d max_unpool3d
    affine_grid_generator grid_sampler grid_sampler_2d grid_sampler_3d
    upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d
    channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle im2col col2im
    constant_pad_nd pad _pad_circular _pad_enum reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d
"""

_ACTIVATIONS = """
    _log_softmax _prelu_kernel _safe_softmax _softmax celu elu gelu glu hardshrink hardsigmoid hardswish hardtanh
    leaky_relu log_sigmoid log_sigmoid_forward log_softmax logit mish prelu relu relu6 rrelu rrelu_with_noise selu
    sigmoid silu softmax softplus softshrink tanh threshold
"""

_ARITHMETIC = """
    abs absolute acos acosh add addcdiv addcmul angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh
    atan atan2 atanh ceil clamp clamp_max clamp_min clip complex conj conj_physical copysign cos cosh deg2rad digamma
    div divide erf erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmax fmin fmod frac frexp gcd
    heaviside hypot i0 imag lcm ldexp lerp lgamma log log10 log1p log2 logaddexp logaddexp2 maximum minimum mul multiply
    nan_to_num neg negative polar positive pow rad2deg real reciprocal remainder resolve_conj resolve_neg round rsqrt
    rsub sgn sign sin sinc sinh sqrt square sub subtract tan true_divide trunc view_as_complex view_as_real xlogy
    special_erf special_erfc special_erfinv special_exp2 special_expit special_expm1 special_log1p special_log_softmax
    special_logit special_logsumexp special_round special_sinc special_softmax special_xlogy
    bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor logical_and logical_not
    logical_or logical_xor __and__ __lshift__ __or__ __rshift__ __xor__ __iand__ __ior__ __ixor__
    allclose eq equal ge greater greater_equal gt isclose isfinite isin isinf isnan isneginf isposinf isreal le less
    less_equal lt ne not_equal signbit
"""

_REDUCTIONS = """
    all amax amin aminmax any argmax argmin argsort bincount bucketize count_nonzero cummax cummin cumprod cumsum diff
    dist frobenius_norm histc kthvalue linalg_matrix_norm linalg_norm linalg_vector_norm logcumsumexp logsumexp max mean
    median min mode msort nanmean nanmedian nansum norm nuclear_norm prod quantile nanquantile renorm searchsorted sort
    std std_mean sum sum_to_size topk unique_consecutive unique_dim _unique2 var var_mean
    cdist _cdist_forward _euclidean_dist cosine_similarity pairwise_distance pdist
"""

_PRODUCTS = """
    addbmm addmm _addmm_activation addmv addr baddbmm bmm chain_matmul cross dot einsum ger inner kron linalg_cross
    linalg_diagonal linalg_matmul linalg_matrix_power linalg_multi_dot linalg_vecdot matmul matrix_power mm mv outer
    tensordot trace _trilinear vdot
    fft_fft fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft
    fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn _fft_c2c _fft_c2r _fft_r2c stft istft
"""

_SHAPES = """
    mT mH adjoint alias as_strided atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cat
    chunk clone column_stack concat concatenate contiguous copy detach diag diag_embed diagflat diagonal dsplit dstack
    expand expand_as flatten flip fliplr flipud hsplit hstack lift lift_fresh lift_fresh_copy meshgrid moveaxis movedim
    narrow narrow_copy numpy_T matrix_H permute ravel repeat repeat_interleave reshape reshape_as roll
    rot90 row_stack select slice split split_with_sizes squeeze stack swapaxes swapdims t take take_along_dim
    tensor_split tile transpose tril tril_indices triu triu_indices type_as unbind unflatten unfold unsafe_chunk
    unsafe_split unsafe_split_with_sizes _unsafe_view unsqueeze view view_as vsplit vstack cartesian_prod combinations
    alias_copy as_strided_copy detach_copy diagonal_copy expand_copy permute_copy _reshape_copy select_copy slice_copy
    split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy unsqueeze_copy view_copy
    as_strided_scatter diagonal_scatter select_scatter slice_scatter
    gather index index_add index_copy index_fill index_put index_reduce index_select masked_fill masked_scatter
    masked_select nonzero nonzero_numpy argwhere scatter scatter_add scatter_reduce _unsafe_index _unsafe_index_put
    _unsafe_masked_index where one_hot fill fill_diagonal zero
"""

_CREATION = """
    arange as_tensor bartlett_window blackman_window empty empty_like empty_permuted empty_strided eye full
    full_like hamming_window hann_window kaiser_window linspace logspace new_empty new_empty_strided new_full new_ones
    new_zeros normal ones ones_like range scalar_tensor tensor zeros zeros_like vander
    bernoulli multinomial poisson rand rand_like randint randint_like randn randn_like random randperm uniform
    exponential
"""

_CONVERSION = """
    _cast_Byte _cast_Char _cast_Double _cast_Float _cast_Half _cast_Int _cast_Long _cast_Short _to_copy cpu cuda to
    to_dense type_as _autocast_to_full_precision _autocast_to_reduced_precision
    Bool Complex ComplexImplicit Float FloatImplicit Int IntImplicit ScalarImplicit item _local_scalar_dense
    can_cast element_size get_device is_complex is_contiguous is_floating_point is_nonzero is_same_size is_signed
    promote_types result_type dense_dim dim data numel _shape_as_tensor size storage_offset stride requires_grad_
    sym_is_contiguous sym_numel sym_size sym_storage_offset sym_stride sym_constrain_range
    sym_constrain_range_for_size _assert_async _assert_scalar _assert_tensor_metadata _functional_assert_async
    _functional_assert_scalar _functional_sym_constrain_range _functional_sym_constrain_range_for_size
"""

_QUANTISATION = """
    dequantize quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic int_repr q_scale q_zero_point
    q_per_channel_scales q_per_channel_zero_points q_per_channel_axis fake_quantize_per_tensor_affine
    fake_quantize_per_channel_affine fake_quantize_per_tensor_affine_cachemask
    fake_quantize_per_channel_affine_cachemask
"""

_NAMES = frozenset(
    " ".join(
        (
            _LAYERS,
            _ACTIVATIONS,
            _ARITHMETIC,
            _REDUCTIONS,
            _PRODUCTS,
            _SHAPES,
            _CREATION,
            _CONVERSION,
            _QUANTISATION,
        )
    ).split()
)

ATEN: frozenset[str] = _NAMES | {f"{name}_" for name in _NAMES if not name.endswith("_")}
"""Names without namespace and overload, e.g. `conv2d`; an operation that writes in place ends in `_`, e.g. `add_`."""
