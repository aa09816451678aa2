// Sampled losses: noise-contrastive estimation and sampled softmax over shared samples, forward and
// backward in one.
//
// R rows, K inputs, S samples, t the true classes of a row. All rows share the samples, so their
// logits are one product with the S gathered rows of the weights; only the true classes are
// computed row by row.
//
//   logits     l_rj = x_r·w_j + b_j - correction_j    for the true classes of row r and the samples
//   labels     z_rj = `target` for the true classes, 0 for the samples
//   logistic   loss_r = Σ_j log(1 + exp(l_rj)) - z_rj l_rj      d_rj = sigmoid(l_rj) - z_rj
//   softmax    loss_r = log Σ_j exp(l_rj) - Σ_j z_rj l_rj       d_rj = exp(l_rj) / Σ exp - z_rj
//   gradients  dx_r = Σ_j d_rj w_j    dw_j = Σ_r d_rj x_r    db_j = Σ_r d_rj
//              each d_rj times the weight of its row
//
// Gutmann & Hyvärinen 2010 (NCE), Mnih & Teh 2012 (for language models), Jean et al. 2015 (sampled
// softmax).
#pragma once

#include "linear_softmax.h"

namespace seqcore::SEQCORE_VARIANT {

// The layout of the scratch memory, in elements.
template <class T>
struct SampledScratch {
  using B = PanelLayout<T, 1>;
  Index row, logits_row;  // elements from row to row: of w, of logits
  Index used, sampled, packed, bias, trues, logits, products, sums;  // first element of each part
  Index all;  // number of elements

  explicit SampledScratch(const SampledLossCall<T>& call)
      : row(row_stride<T>(B::columns(call.inputs))),
        logits_row(row_stride<T>(B::columns(call.samples))) {
    Index end = 0;
    const auto take = [&end](Index count) {
      const Index begin = end;
      end += (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
      return begin;
    };
    used = take(call.by_columns ? call.used * row : 0);
    sampled = take(call.samples * row);
    packed = take(call.inputs * B::columns(call.samples));
    bias = take(B::columns(call.samples));
    trues = take(call.rows * call.true_classes);
    logits = take(call.rows * logits_row);
    products = take(call.dweights ? call.samples * call.inputs : 0);
    sums = take(call.dweights ? B::columns(call.samples) : 0);
    all = end;
  }
};

template <class T>
void sampled_loss_sizes(const SampledLossCall<T>& call, SampledLossSizes& sizes) {
  sizes.all = SampledScratch<T>(call).all + call.rows * call.true_classes + call.samples;
  sizes.thread = std::max(weight_scratch<T, 1>(call.samples),
                          kMaxRows * row_stride<T>(PanelLayout<T, 1>::columns(call.inputs)));
}

// log(1 + e) for e in [0, 1]: 2 artanh(s) with s = e / (2 + e) <= 1/3, by its series; no digits are
// lost near 0.
template <class P>
SEQCORE_INLINE P log1p_of(const P& e, const P& over) {
  using T = Scalar<P>;
  constexpr int kTerms = sizeof(T) == 4 ? 8 : 17;
  const P s = e * over, square = s * s;
  P sum = set1<P>(T(1) / T(2 * kTerms - 1));
#pragma GCC unroll 17
  for (int i = kTerms - 2; i >= 0; --i) sum = mul_add(sum, square, set1<P>(T(1) / T(2 * i + 1)));
  return (s + s) * sum;
}

// log(1 + exp(x)) - z x, and sigmoid(x) - z.
template <class P>
SEQCORE_INLINE void logistic(const P& x, const P& z, P& loss, P& derivative) {
  using B = typename Bits<P>::Vector;
  const P zero = set1<P>(0), one = set1<P>(1);
  const P e = exp(zero - ei::pabs(x));
  P over_one, over_two;  // 1 / (1 + e), 1 / (2 + e)
  reciprocals(one + e, set1<P>(2) + e, over_one, over_two);
  // max(x, 0) with NaN kept.
  const B positive = (B)(x > zero);
  const P above = (P)((B)x & ~(B)(x < zero));
  loss = mul_add(zero - z, x, above) + log1p_of(e, over_two);
  const P top = (P)(((B)one & positive) | ((B)e & ~positive));
  derivative = top * over_one - z;
}

// log(1 - (1 - p)^tries), the logarithm of the expected count of each class among different
// samples, for the log-uniform p(k) = log(1 + 1/(k + 1)) / log(classes + 1); classes >= 3, so that
// p is at most 1/2. In double whatever T is: p may be small.
template <class T>
void log_uniform_corrections(const int32_t* ids, Index count, Index classes, double tries, T* to) {
  using P = Wide<double>;
  constexpr int W = kLanes<double>;
  const P one = set1<P>(1), two = set1<P>(2), over_range = set1<P>(1 / std::log1p(double(classes)));
  for (Index i = 0; i < count; i += W) {
    const int n = int(std::min<Index>(W, count - i));
    alignas(64) double part[W] = {};
    for (int j = 0; j < n; ++j) part[j] = double(ids[i + j]) + 1;
    for (int j = n; j < W; ++j) part[j] = 1;
    const P e = one / load<P>(part);
    const P p = log1p_of(e, one / (two + e)) * over_range;
    // log(1 - p) = -log1p_of(p / (1 - p)) = -2 artanh(p / (2 - p))
    const P left = ei::pnegate(log1p_of(p, one / (two - p)));
    P power, rest;
    exp2_parts(ei::pmax(left * set1<P>(tries), set1<P>(ExpConstants<double>::kLow)), kLog2E<P>,
               power, rest);
    store(part, ei::plog(one - power - power * rest));
    for (int j = 0; j < n; ++j) to[i + j] = T(part[j]);
  }
}

template <class T>
struct SampledLoss {
  using P = Wide<T>;
  using B = PanelLayout<T, 1>;
  static constexpr int W = kLanes<T>;
  // The logit of a sample that is masked out: its exponential is 0, and differences of two such
  // logits do not overflow.
  static constexpr T kMaskedLogit = -std::numeric_limits<T>::max() / 4;
  // Weights of true classes are prefetched 6 dot products ahead: one of 128 floats takes some 10
  // ns, a line from memory 60 to 100.
  static constexpr Index kPrefetchDistance = 6;

  const SampledLossCall<T>& call;
  const Team& team;
  const SampledScratch<T> at;
  const Index R, K, S, trues;  // trues: of all rows
  const int32_t* sampled_ids;
  T *used, *sampled, *packed, *bias, *true_logits, *logits, *products, *sums;
  int32_t* group;  // of each position in ids, with by_columns

  SampledLoss(const SampledLossCall<T>& c, const Team& t)
      : call(c), team(t), at(c), R(c.rows), K(c.inputs), S(c.samples),
        trues(c.rows * c.true_classes), sampled_ids(c.ids + trues), used(c.scratch + at.used),
        sampled(c.scratch + at.sampled), packed(c.scratch + at.packed), bias(c.scratch + at.bias),
        true_logits(c.scratch + at.trues), logits(c.scratch + at.logits),
        products(c.scratch + at.products), sums(c.scratch + at.sums),
        group(reinterpret_cast<int32_t*>(c.scratch + at.all)) {}

  Range my_rows() const { return split_range(R, team); }
  T* logits_of(Index r) const { return logits + r * at.logits_row; }
  T weight(Index r) const { return call.row_weights ? call.row_weights[r] : call.weight; }
  T bias_of(Index position) const {
    const T b = call.biases ? call.biases[call.ids[position]] : T(0);
    return call.corrections ? b - call.corrections[position] : b;
  }
  // The K weights of the class at a position of ids.
  const T* weights_of(Index position) const {
    return call.by_columns ? used + group[position] * at.row
                           : call.weights + call.ids[position] * call.stride;
  }

  // The used columns of (K, V) weights as rows, K elements of a few rows at a time: along a row
  // their ids ascend.
  void gather_columns() const {
    constexpr Index kBlock = 16;  // a cache line of floats of each gathered row
    const Range groups = split_range(call.used, team);
    for (Index u = groups.begin; u < groups.end; ++u)
      for (Index n = call.starts[u]; n < call.starts[u + 1]; ++n) group[call.order[n]] = int32_t(u);
    const Range mine = split_range(K, team, kBlock);
    for (Index k0 = mine.begin; k0 < mine.end && !stopped(team); k0 += kBlock) {
      const Index count = std::min(kBlock, mine.end - k0);
      for (Index u = 0; u < call.used; ++u) {
        const T* from = call.weights + k0 * call.stride + call.ids[call.order[call.starts[u]]];
        for (Index k = 0; k < count; ++k) used[u * at.row + k0 + k] = from[k * call.stride];
      }
    }
  }

  // Gathers and packs columns [k0, k1) of the samples' weights: each thread some columns of all
  // samples.
  void pack_samples() const {
    const Range mine = split_range(K, team, W);
    const Index count = mine.end - mine.begin;
    if (count) {
      for (Index s = 0; s < S; ++s) {
        std::memcpy(sampled + s * at.row + mine.begin, weights_of(trues + s) + mine.begin,
                    sizeof(T) * size_t(count));
        // The product reads whole vectors.
        if (mine.end == K)
          for (Index k = K; k < at.row; ++k) sampled[s * at.row + k] = 0;
      }
      for (Index p = 0; p < B::panels(S); ++p)
        pack_panel_transposed<1>(
            sampled + mine.begin, at.row, S, count, p, {0, B::panels(count)},
            packed + p * K * B::kPanel * W + mine.begin * B::panel_vectors(S, p) * W);
    }
    const Range mine_too = split_range(B::columns(S), team);
    for (Index s = mine_too.begin; s < mine_too.end; ++s)
      bias[s] = s < S ? bias_of(trues + s) : kMaskedLogit;
  }

  T dot(const T* a, const T* b) const {
    P even = set1<P>(0), odd = set1<P>(0);
    Index k = 0;
    for (; k + 2 * W <= K; k += 2 * W) {
      even = mul_add(load<P>(a + k), load<P>(b + k), even);
      odd = mul_add(load<P>(a + k + W), load<P>(b + k + W), odd);
    }
    for (; k < K; k += W) {
      const int n = int(std::min<Index>(W, K - k));
      even = mul_add(load_n<P>(a + k, n), load_n<P>(b + k, n), even);
    }
    return ei::predux(even + odd);
  }

  void prefetch(Index position) const {
    const T* w = weights_of(position);
    for (Index k = 0; k < K; k += 64 / Index(sizeof(T))) __builtin_prefetch(w + k);
  }

  void compute_true_logits() const {
    const Range mine = my_rows();
    const Index n = call.true_classes, end = mine.end * n;
    for (Index i = mine.begin * n; i < end; ++i) {
      if (i + kPrefetchDistance < end) prefetch(i + kPrefetchDistance);
      true_logits[i] = dot(call.x + i / n * K, weights_of(i)) + bias_of(i);
    }
  }

  // Masks samples that are one of the row's true classes.
  void remove_hits(Index r) const {
    T* row = logits_of(r);
    for (Index i = r * call.true_classes; i < (r + 1) * call.true_classes; ++i) {
      const int32_t id = call.ids[i];
      for (Index s = 0; s < S; ++s) row[s] = sampled_ids[s] == id ? kMaskedLogit : row[s];
    }
  }

  // Logits become gradients; losses are written.
  void logistic_rows(Index r0, Index rows) const {
    const Index n = call.true_classes, end = (r0 + rows) * n;
    const P target = set1<P>(call.target), zero = set1<P>(0);
    for (Index r = r0; r < r0 + rows; ++r) {
      T* row = logits_of(r);
      const P w = set1<P>(weight(r));
      P total = zero;
      for (Index s = 0; s < S; s += W) {
        P loss, derivative;
        logistic(load<P>(row + s), zero, loss, derivative);
        total += loss;
        store(row + s, derivative * w);
      }
      call.losses[r] = ei::predux(total);
    }
    alignas(64) T losses[W], derivatives[W];
    for (Index i = r0 * n; i < end; i += W) {
      const int count = int(std::min<Index>(W, end - i));
      P loss, derivative;
      logistic(load_n<P>(true_logits + i, count), target, loss, derivative);
      store(losses, loss);
      store(derivatives, derivative);
      for (int j = 0; j < count; ++j) {
        const Index r = (i + j) / n;
        call.losses[r] += losses[j];
        true_logits[i + j] = derivatives[j] * weight(r);
      }
    }
  }

  void softmax_row(Index r) const {
    T *row = logits_of(r), *mine = true_logits + r * call.true_classes;
    const Index n = call.true_classes;
    const T sampled_top = max_element<P>(row, S), true_top = max_element<P>(mine, n);
    const T top = true_top > sampled_top ? true_top : sampled_top;
    T expected = 0;
    for (Index i = 0; i < n; ++i) expected += call.target * (mine[i] - top);
    const T sum = exponentials<P>(row, S, top) + exponentials<P>(mine, n, top);
    call.losses[r] = std::log(sum) - expected;
    const T w = weight(r), factor = w / sum;
    scale_by<P>(row, S, factor);
    for (Index i = 0; i < n; ++i) mine[i] = mine[i] * factor - w * call.target;
  }

  // to += factor · from, K elements.
  void add_scaled(T* to, T factor, const T* from) const {
    const P f = set1<P>(factor);
    Index k = 0;
    for (; k + W <= K; k += W) store(to + k, mul_add(f, load<P>(from + k), load<P>(to + k)));
    if (k < K)
      store_n(to + k, mul_add(f, load_n<P>(from + k, int(K - k)), load_n<P>(to + k, int(K - k))),
              int(K - k));
  }

  void dx_of_rows(Index r0, int rows, T* scratch) const {
    const T* a[kMaxRows];
    T* c[kMaxRows];
    // Where rows end with a whole vector the product writes them in place.
    const bool in_place = K % W == 0;
    for (int i = 0; i < rows; ++i) {
      a[i] = logits_of(r0 + i);
      c[i] = in_place ? call.dx + (r0 + i) * K : scratch + i * at.row;
    }
    for (Index k = 0; k < K; k += B::kPanel * W) {
      T* part[kMaxRows];
      for (int i = 0; i < rows; ++i) part[i] = c[i] + k;
      const int vectors = int(std::min<Index>(B::kPanel, (K - k + W - 1) / W));
      multiply_panel<T, B::kPanel>(vectors, a, 1, rows, sampled + k, at.row, S, part, Start::kZero,
                                   static_cast<const T*>(nullptr));
    }
    for (int i = 0; i < rows; ++i) {
      const Index r = r0 + i;
      for (Index n = r * call.true_classes; n < (r + 1) * call.true_classes; ++n)
        add_scaled(c[i], true_logits[n], weights_of(n));
      if (!in_place) std::memcpy(call.dx + r * K, c[i], sizeof(T) * size_t(K));
    }
  }

  void forward_rows(T* scratch) const {
    const Range mine = my_rows();
    for (Index r0 = mine.begin; r0 < mine.end && !stopped(team); r0 += kMaxRows) {
      const int rows = int(std::min<Index>(kMaxRows, mine.end - r0));
      const T* a[kMaxRows];
      T* c[kMaxRows];
      for (int i = 0; i < rows; ++i) {
        a[i] = call.x + (r0 + i) * K;
        c[i] = logits_of(r0 + i);
      }
      multiply<T, B::kPanel>(a, rows, packed, K, B::vectors(S), 0, B::panels(S), c, Start::kBias,
                             bias);
      if (call.remove_hits)
        for (int i = 0; i < rows; ++i) remove_hits(r0 + i);
      if (call.softmax)
        for (int i = 0; i < rows; ++i) softmax_row(r0 + i);
      else
        logistic_rows(r0, rows);
      if (call.gradients && call.dx) dx_of_rows(r0, rows, scratch);
    }
  }

  // Sums of the gradients of the samples' logits over all rows.
  void sum_samples() const {
    const Range mine = split_range(B::columns(S), team, W);
    for (Index s = mine.begin; s < mine.end; s += W) {
      P total = set1<P>(0);
      for (Index r = 0; r < R; ++r) total += load<P>(logits_of(r) + s);
      store(sums + s, total);
    }
  }

  // The gradient of one class: the sum over its positions, in their order.
  void write_gradient(Index u) const {
    T* to = call.dweights + u * K;
    T total = 0;
    for (Index n = call.starts[u]; n < call.starts[u + 1]; ++n) {
      const Index position = call.order[n];
      if (n == call.starts[u]) std::memset(to, 0, sizeof(T) * size_t(K));
      if (position < trues) {
        add_scaled(to, true_logits[position], call.x + position / call.true_classes * K);
        total += true_logits[position];
      } else {
        add_scaled(to, T(1), products + (position - trues) * K);
        total += sums[position - trues];
      }
    }
    if (call.dbiases) call.dbiases[u] = total;
  }

  void run(T* scratch) const {
    if (call.by_columns) {
      gather_columns();
      wait(team);
    }
    pack_samples();
    compute_true_logits();
    wait(team);
    forward_rows(scratch);
    if (!call.gradients || !call.dweights) return;
    wait(team);
    const WeightTerm<T> by_logits{logits, at.logits_row, S, 0, 1, products};
    team_weight_gradients<T, 1>(team, false, MatrixRows<T>{call.x, K}, R, K, &by_logits, 1, nullptr,
                                false, scratch);
    sum_samples();
    wait(team);
    const Range mine = split_range(call.used, team);
    for (Index u = mine.begin; u < mine.end && !(u % kMaxRows == 0 && stopped(team)); ++u)
      write_gradient(u);
  }
};

template <class T>
void sampled_loss(const SampledLossCall<T>& call, const Team& team) {
  SampledLossSizes sizes;
  sampled_loss_sizes(call, sizes);
  SampledLoss<T>(call, team).run(call.scratch_thread + team.rank * sizes.thread);
}

}  // namespace seqcore::SEQCORE_VARIANT
